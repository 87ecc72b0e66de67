//! The driver: members as real processes on real disks, and the links between them.
//!
//! A [`Cluster`](local::Cluster) has members numbered from 1. Every member dials every other one
//! through a proxy of that *ordered pair* ([`link`]), so that a cut of the direction A => B can
//! take the bytes that A sends to B out of both the connections A dialled and those B dialled.
//! Which directions are cut is data: a [`Topology`](topology::Topology).
//!
//! | file | idea |
//! |---|---|
//! | [`layout`] | addresses: who listens where; a loopback address per test cluster |
//! | [`program`] | which server: Quorate or etcd, and its command line |
//! | [`process`] | one member as a child process: kill, pause, restart, CPU time |
//! | [`topology`] | who hears whom, as data, with its text form |
//! | [`weather`] | what every way does to bytes, as a value: cuts, delays, loss, narrow and short-sighted links |
//! | [`link`] | one proxy: forwards, drops, delays, resets |
//! | [`links`] | all proxies of a cluster under one topology |
//! | [`local`] | members and links together; waiting until they serve, who leads |
//! | [`daemon`] [`control`] [`commands`] | the process behind `scripts/cluster`, how to talk to it, what users see |

pub mod commands;
pub mod control;
pub mod daemon;
pub mod layout;
pub mod link;
pub mod links;
pub mod local;
pub mod process;
pub mod program;
pub mod topology;
pub mod weather;
