//! Stories: partitions as readable transcripts with recorded output.
//!
//! A story is a file of commands and, behind `---`, what they brought (goldenscript). It runs on a
//! cluster of real processes, and speaks of roles only: whoever leads at the start is `leader`, the others
//! are `f1`, `f2`, ... by number. What chance decides (which of two leads, how many writes there were,
//! terms, times) is not told; so a transcript is the same in every run, and a difference is news. Nothing
//! sleeps: `wait` waits for a condition, and where time must pass because nothing is to happen, `hold`
//! looks all the while. The unit of time is the election timeout.
//!
//! ```text
//! start [nodes=3] [snapshot-count=N] [election-timeout=MS] [journals]      `f1: ...` is asked of f1
//! cut "leader | f1 f2" | "f1 > leader" | shape=NAME [how=drop|reset|new-only] [instead]
//! weather [NAMES] [delay= jitter= loss= rate= largest=]       heal       flap NAME times=N
//! kill | boot | restart | pause | resume | power-cut | lose-disk | retire NAMES    enlist NAME
//! put KEY VALUE [bytes=N] [lease=NAME]     get KEY [prefix] [serializable] [revision=N]   delete KEY [prefix]
//! txn if="a=1 and create(b)=0" then="put a 2; get b" else="..."                   compact REVISION
//! grant NAME ttl=SECONDS | revoke NAME | keepalive NAME | ttl NAME     lock NAME lease=NAME
//! members | add NAME [learner] | promote NAME | remove NAME | move-leader NAME
//! ask ID QUESTION, answer ID      in the background         unanswered QUESTION    no answer for a while
//! persist QUESTION                again until answered      ... either="this | that | no answer"
//! watch NAME KEY [prefix] [previous] [from=N]    told NAME to=N | end    complete NAME from=N
//! load NAME [NAMES] [clients=N], stop NAME, verify NAME    in the background    fill PREFIX COUNT
//! wait CONDITION [within=N]   hold N CONDITION   mark, elections [NAMES]: whether terms have passed
//! ```
//!
//! Conditions: `leader [NAMES] [as="NEW OTHER"]`, `leads NAME [FOLLOWERS]`, `leaderless`, `no-leader`, `serves`, `same-state`,
//! `snapshot`, `ended` (all of NAMES), `behind LATE AHEAD`, `revision NAME N`, `there KEY`, `gone KEY`,
//! `acknowledged LOAD N`, `silent WATCH`.
//!
//! | file | idea |
//! |---|---|
//! | [`command`] | the command line: files, differences, `--update` |
//! | [`teller`] [`stage`] | a line becomes a deed; what a story's lines are done on |
//! | [`words`] [`phrase`] [`names`] | the words of a line; transactions; who is who |
//! | [`question`] | what members are asked, and how answers read |
//! | [`faults`] | links and processes |
//! | [`conditions`] | what is waited for |
//! | [`watching`] [`load`] | what goes on in the background |

pub mod command;
mod conditions;
mod faults;
pub mod load;
pub mod names;
pub mod phrase;
pub mod question;
pub mod stage;
pub mod teller;
pub mod watching;
pub mod words;
