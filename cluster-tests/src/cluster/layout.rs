//! Who listens where.
//!
//! The user's cluster of `scripts/cluster` has etcd's well-known ports on 127.0.0.1. Every other
//! cluster claims a loopback address of its own (all of 127.0.0.0/8 is local), so that clusters
//! run side by side, disturb nobody's, and a restarted member finds its port free: outgoing
//! connections take their local ports on 127.0.0.1. Where members have network namespaces of their
//! own ([`super::packets`]), each has an address of its own, too.

use anyhow::{Context, Result, bail, ensure};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// Ports of the next member: 2389 and 2390, 2399 and 2400, as in etcd's own examples.
const PORT_STEP: u16 = 10;
/// The link from A to B listens on this + 64 A + B; what anybody dials B by, as that from 0.
const LINK_PORT: u16 = 21_000;
/// Nodes are numbered from 1 to this; a number is given once, so that long runs replace many.
pub const NODES_MAX: u16 = 40;
/// The shift of every cluster but the user's: a server on 0.0.0.0:2379 would hold the port on every
/// address.
const OWN_PORTS: u16 = 20_000;

/// Distinguishes clusters of one process.
static CLAIMED: AtomicU32 = AtomicU32::new(0);
static APART: AtomicU32 = AtomicU32::new(0);

/// The addresses of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    ip: Ipv4Addr,
    /// Added to every client and peer port.
    port_shift: u16,
    /// Every node has an address of its own, whose third byte is its number, and the same ports.
    apart: bool,
}

impl Layout {
    /// 127.0.0.1 and the well-known ports: for the user's cluster alone.
    pub const fn well_known() -> Self {
        Self {
            ip: Ipv4Addr::LOCALHOST,
            port_shift: 0,
            apart: false,
        }
    }

    /// Of `scripts/cluster`: [`Layout::well_known`], or, so that a test of the script disturbs no
    /// cluster of the user's, the loopback address that `QUORATE_CLUSTER_IP` names.
    ///
    /// # Errors
    /// It names none.
    pub fn of_the_user() -> Result<Self> {
        let Ok(ip) = std::env::var("QUORATE_CLUSTER_IP") else {
            return Ok(Self::well_known());
        };
        let ip: Ipv4Addr = ip.parse().context("QUORATE_CLUSTER_IP")?;
        ensure!(ip.is_loopback(), "QUORATE_CLUSTER_IP={ip} is not local");
        Ok(Self {
            ip,
            port_shift: OWN_PORTS,
            apart: false,
        })
    }

    /// For members in network namespaces of their own, where nobody else is: 10.64.N.2 and the
    /// well-known ports; the next cluster of this process is on 10.65.N.2.
    pub fn apart() -> Self {
        let [.., block] = APART.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Self {
            ip: Ipv4Addr::new(10, 64 + block % 128, 0, 2),
            port_shift: 0,
            apart: true,
        }
    }

    pub const fn is_apart(self) -> bool {
        self.apart
    }

    /// The address of `node`.
    pub fn ip(self, node: usize) -> Ipv4Addr {
        let [a, b, c, d] = self.ip.octets();
        if self.apart {
            let [_, number] = Self::number(node).to_be_bytes();
            return Ipv4Addr::new(a, b, number, d);
        }
        Ipv4Addr::new(a, b, c, d)
    }

    /// The other end of the cable of a `node` that is apart.
    pub fn gateway(self, node: usize) -> Ipv4Addr {
        let [a, b, c, _] = self.ip(node).octets();
        Ipv4Addr::new(a, b, c, 1)
    }

    /// A loopback address that no other cluster uses, found by binding it.
    ///
    /// # Errors
    /// No address is free.
    pub fn claim() -> Result<Self> {
        for _ in 0..64 {
            let nth = CLAIMED.fetch_add(1, Ordering::Relaxed);
            // The low bits of the process id and a counter; neighbours in a test run differ in both.
            let [_, _, high, low] = std::process::id()
                .wrapping_mul(7)
                .wrapping_add(nth)
                .to_be_bytes();
            let [.., block] = nth.to_be_bytes();
            let ip = Ipv4Addr::new(127, 64 + block % 64, high, low);
            let layout = Self {
                ip,
                port_shift: OWN_PORTS,
                apart: false,
            };
            if (1..=NODES_MAX).all(|node| layout.is_free(node)) {
                return Ok(layout);
            }
        }
        bail!("no free loopback address for a cluster")
    }

    fn is_free(self, node: u16) -> bool {
        [self.client_port(node), self.peer_port(node)]
            .into_iter()
            .all(|port| self.can_bind(port))
    }

    fn can_bind(self, port: u16) -> bool {
        TcpListener::bind(SocketAddrV4::new(self.ip, port)).is_ok()
    }

    /// The addresses of the first `nodes` that another program holds.
    pub fn busy(self, nodes: usize) -> Vec<String> {
        let ports =
            (1..=Self::number(nodes)).flat_map(|n| [self.client_port(n), self.peer_port(n)]);
        ports
            .filter(|port| !self.can_bind(*port))
            .map(|port| format!("{}:{port}", self.ip))
            .collect()
    }

    const fn client_port(self, node: u16) -> u16 {
        CLIENT_PORT + self.shift(node)
    }

    const fn peer_port(self, node: u16) -> u16 {
        PEER_PORT + self.shift(node)
    }

    const fn shift(self, node: u16) -> u16 {
        if self.apart {
            return self.port_shift;
        }
        self.port_shift + (node - 1) * PORT_STEP
    }

    fn number(node: usize) -> u16 {
        let number = u16::try_from(node).unwrap_or(u16::MAX);
        assert!(
            (1..=NODES_MAX).contains(&number),
            "nodes are numbered 1 to {NODES_MAX}"
        );
        number
    }

    /// Where clients reach `node`, as `host:port`.
    pub fn client_address(self, node: usize) -> String {
        format!("{}:{}", self.ip(node), self.client_port(Self::number(node)))
    }

    pub fn client_url(self, node: usize) -> String {
        format!("http://{}", self.client_address(node))
    }

    /// Where `node` listens for its peers.
    pub fn peer_address(self, node: usize) -> String {
        format!("{}:{}", self.ip(node), self.peer_port(Self::number(node)))
    }

    pub fn peer_url(self, node: usize) -> String {
        format!("http://{}", self.peer_address(node))
    }

    /// Where the proxy listens through which `from` dials `to`.
    pub fn link_address(self, from: usize, to: usize) -> String {
        self.proxy_address(Self::number(from), to)
    }

    /// Where the proxy listens through which whoever likes dials `to`.
    pub fn advertised_address(self, to: usize) -> String {
        self.proxy_address(0, to)
    }

    fn proxy_address(self, from: u16, to: usize) -> String {
        let port = LINK_PORT + self.port_shift / 10 + from * 64 + Self::number(to);
        format!("{}:{port}", self.ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_listeners_share_an_address() {
        let layout = Layout::well_known();
        let mut seen = BTreeSet::new();
        let nodes = || 1..=usize::from(NODES_MAX);
        for node in nodes() {
            assert!(seen.insert(layout.client_address(node)));
            assert!(seen.insert(layout.peer_address(node)));
            assert!(seen.insert(layout.advertised_address(node)));
            for to in nodes().filter(|to| *to != node) {
                assert!(seen.insert(layout.link_address(node, to)));
            }
        }
        assert_eq!(layout.client_address(2), "127.0.0.1:2389");
        assert_eq!(layout.peer_address(3), "127.0.0.1:2400");
    }

    #[test]
    fn nodes_apart_have_addresses_of_their_own() {
        let layout = Layout::apart();
        let [a, b, ..] = layout.ip(1).octets();
        assert_eq!(layout.client_address(1), format!("{a}.{b}.1.2:2379"));
        assert_eq!(layout.peer_address(3), format!("{a}.{b}.3.2:2380"));
        assert_eq!(layout.gateway(3).to_string(), format!("{a}.{b}.3.1"));
        assert_ne!(layout, Layout::apart());
    }

    #[test]
    fn two_claims_differ() {
        assert_ne!(Layout::claim().unwrap(), Layout::claim().unwrap());
    }
}
