//! The driver: members as real processes on real disks, and the links between them.
//!
//! A [`Cluster`](local::Cluster) has members numbered from 1. What they send each other goes over links
//! of ours, so that the direction A => B can be cut, slowed or narrowed on its own, in the connections
//! that A dialled and in those that B dialled. What every direction does is data, a
//! [`Weather`](weather::Weather), which a [`Carrier`](carrier::Carrier) makes so.
//!
//! | file | idea |
//! |---|---|
//! | [`layout`] | addresses: who listens where; a loopback address per test cluster |
//! | [`program`] | which server: Quorate or etcd, and its command line |
//! | [`process`] [`nursery`] [`identity`] [`throttle`] | one member as a child process: kill, pause, restart, CPU time; the thread it is started on; whom signals are for; a share of the CPU |
//! | [`power`] | a power cut for killed members: takes what they had not synced |
//! | [`topology`] | who hears whom, as data, with its text form |
//! | [`weather`] | what every way does to bytes, as a value: cuts, delays, loss, narrow and short-sighted links |
//! | [`carrier`] | who makes the weather so |
//! | [`links`] [`link`] | userland proxies: all of a cluster; one of them, and what a connection meets |
//! | [`sky`] [`pump`] [`wire`] | the weather they share; one direction of a connection; what is under way on it |
//! | [`diallers`] | which member dialled, asked of the kernel |
//! | [`packets`] [`rules`] [`namespace`] | or packets: a namespace for every member; the weather as nft rules; how to get in |
//! | [`local`] | members and links together; waiting until they serve, who leads |
//! | [`subject`] `local_subject` | a cluster as a run sees it, whatever it is made of; real processes as that |
//! | [`endpoints`] | a cluster that somebody else runs |
//! | [`daemon`] [`control`] [`commands`] | the process behind `scripts/cluster`, how to talk to it, what users see |

pub mod carrier;
pub mod commands;
pub mod control;
pub mod daemon;
pub mod diallers;
pub mod endpoints;
pub mod identity;
pub mod layout;
pub mod link;
pub mod links;
pub mod local;
mod local_subject;
pub mod namespace;
pub mod nursery;
pub mod packets;
pub mod power;
pub mod process;
pub mod program;
pub mod pump;
pub mod rules;
pub mod sky;
pub mod subject;
pub mod throttle;
pub mod topology;
pub mod weather;
pub mod wire;
