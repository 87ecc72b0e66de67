//! Which server a member runs, and its command line.

use super::carrier::Wiring;
use super::layout::{Layout, NODES_MAX};
use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};

/// The two servers that the laboratory drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Program {
    Quorate,
    /// Debian's etcd: the reference.
    Etcd,
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Quorate => "quorate",
            Self::Etcd => "etcd",
        })
    }
}

impl Program {
    /// The binary: what `QUORATE_BIN` or `ETCD_BIN` names; else `quorate` beside this program, as
    /// cargo puts it, or `etcd` on the path.
    ///
    /// # Errors
    /// There is none.
    pub fn binary(self) -> Result<PathBuf> {
        let variable = match self {
            Self::Quorate => "QUORATE_BIN",
            Self::Etcd => "ETCD_BIN",
        };
        if let Some(path) = std::env::var_os(variable) {
            return Ok(path.into());
        }
        match self {
            Self::Quorate => {
                let here = std::env::current_exe().context("where this program is")?;
                // Tests run one directory further down.
                let beside = here
                    .ancestors()
                    .skip(1)
                    .take(2)
                    .map(|dir| dir.join("quorate"));
                beside
                    .into_iter()
                    .find(|path| path.is_file())
                    .with_context(|| {
                        format!(
                            "no quorate binary beside {}: cargo build --release",
                            here.display()
                        )
                    })
            }
            Self::Etcd => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let found = std::env::split_paths(&path)
                    .map(|dir| dir.join("etcd"))
                    .find(|path| path.is_file());
                match found {
                    Some(path) => Ok(path),
                    None => bail!("no etcd on the path: apt-get install etcd-server"),
                }
            }
        }
    }

    /// What etcd needs to have Quorate's timers, which the bounds of faults are made for.
    pub fn timers(self) -> &'static [&'static str] {
        match self {
            Self::Quorate => &[],
            Self::Etcd => &[
                "--heartbeat-interval=50",
                "--election-timeout=300",
                "--pre-vote",
            ],
        }
    }

    /// Where a member that listens for peers at `peer_url` can be inspected, if it can.
    pub fn inspected_at(self, peer_url: &str) -> Option<&str> {
        (self == Self::Quorate).then_some(peer_url)
    }

    /// By which URL others know `node` as a peer. etcd's members dial what is advertised, so it is
    /// the proxy's; Quorate's are told to dial proxies in its place.
    pub fn peer_url(self, layout: Layout, node: usize, wiring: Wiring) -> String {
        match (self, wiring) {
            (Self::Etcd, Wiring::Proxies) => format!("http://{}", layout.advertised_address(node)),
            _ => layout.peer_url(node),
        }
    }

    /// Everything after the binary.
    pub fn arguments(self, plan: &MemberPlan<'_>) -> Vec<String> {
        let MemberPlan {
            layout,
            node,
            others,
            data_dir,
            state,
            token,
            wiring,
        } = *plan;
        let cluster: Vec<String> = others
            .iter()
            .map(|n| format!("{}={}", name(*n), self.peer_url(layout, *n, wiring)))
            .collect();
        let mut arguments = Vec::new();
        if self == Self::Quorate {
            arguments.push("serve".to_owned());
        }
        let flags = [
            ("--name", name(node)),
            ("--data-dir", data_dir.display().to_string()),
            ("--listen-client-urls", layout.client_url(node)),
            ("--advertise-client-urls", layout.client_url(node)),
            ("--listen-peer-urls", layout.peer_url(node)),
            (
                "--initial-advertise-peer-urls",
                self.peer_url(layout, node, wiring),
            ),
            ("--initial-cluster", cluster.join(",")),
            ("--initial-cluster-state", state.to_owned()),
            ("--initial-cluster-token", token.to_owned()),
        ];
        arguments.extend(
            flags
                .into_iter()
                .flat_map(|(flag, value)| [flag.to_owned(), value]),
        );
        if wiring == Wiring::Proxies && self == Self::Quorate {
            // Of members that are still to join too: the flag is for life.
            let dials: Vec<String> = (1..=usize::from(NODES_MAX))
                .filter(|to| *to != node)
                .map(|to| {
                    let (known, dialled) = (layout.peer_url(to), layout.link_address(node, to));
                    format!("{known}={dialled}")
                })
                .collect();
            arguments.extend(["--peer-dial".to_owned(), dials.join(",")]);
        }
        arguments
    }
}

/// What a member's command line is made of.
#[derive(Clone, Copy, Debug)]
pub struct MemberPlan<'a> {
    pub layout: Layout,
    pub node: usize,
    /// The members of its `--initial-cluster`, itself among them.
    pub others: &'a [usize],
    pub data_dir: &'a Path,
    /// `new` or `existing`.
    pub state: &'a str,
    pub token: &'a str,
    pub wiring: Wiring,
}

/// A member's name: n1, n2, …
pub fn name(node: usize) -> String {
    format!("n{node}")
}
