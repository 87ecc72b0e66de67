//! What was asked, what was told, what befell the cluster: a run as data.
//!
//! Everything that a judge, the report or a second run needs is in a [`Recording`](recording::Recording);
//! nothing is judged that is not in it, so a recording can be judged again, offline, years later. It is
//! a directory of JSON and JSON lines; keys and values are text.
//!
//! Times are microseconds since the run began. A client has one operation outstanding. What ended in
//! an error is *refused* only where the error says that nothing was done; else it is *unknown*: it may
//! take effect once, at any time after it was asked, or never.
//!
//! | file | idea |
//! |---|---|
//! | [`call`] | requests and answers, in etcd's words |
//! | [`operation`] | a call by a client, with its outcome and its time |
//! | [`watch`] | what the watchers were told, stream by stream |
//! | [`timeline`] | faults, the weather, members' lives, what members said of themselves |
//! | [`recorder`] | the growing history, shared by those who write it |
//! | [`recording`] | all of it, and its directory |

pub mod call;
pub mod operation;
pub mod recorder;
pub mod recording;
pub mod timeline;
pub mod watch;
