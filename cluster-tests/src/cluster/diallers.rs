//! Which member dialled a connection: the kernel knows.
//!
//! Members of etcd dial a peer by the one URL that it advertises, so a proxy behind that URL hears all
//! of them. The members are processes of ours, on this machine: `/proc/net/tcp` names the socket at
//! the other end of a connection, and `/proc/PID/fd` the process that holds it. So nothing that is
//! sent needs to be understood, and connections that say nothing of who they are (etcd's probes and
//! its questions for a peer's version) are cut like the others.

use super::identity::Identity;
use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpStream;

/// The members that may dial.
#[derive(Debug, Default)]
pub struct Diallers {
    members: Mutex<BTreeMap<usize, Identity>>,
}

impl Diallers {
    /// One more; whether it runs, and as what, is looked up each time.
    pub fn admit(&self, node: usize, identity: Identity) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.insert(node, identity);
    }

    /// Who holds the other end of `accepted`: none if it is no member, or is gone.
    pub async fn who(&self, accepted: &TcpStream) -> Option<usize> {
        let (Ok(SocketAddr::V4(here)), Ok(SocketAddr::V4(there))) =
            (accepted.local_addr(), accepted.peer_addr())
        else {
            return None;
        };
        let members: Vec<(usize, u32)> = {
            let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
            let running = members.iter().filter_map(|(n, who)| Some((*n, who.pid()?)));
            running.collect()
        };
        let search = tokio::task::spawn_blocking(move || {
            let table = std::fs::read_to_string("/proc/self/net/tcp").ok()?;
            let inode = inode(&table, there, here)?;
            let socket = format!("socket:[{inode}]");
            let holder = members.into_iter().find(|(_, pid)| holds(*pid, &socket));
            holder.map(|(node, _)| node)
        });
        search.await.ok()?
    }
}

/// The inode of the socket at `here` that is connected to `there`, from the text of /proc/net/tcp.
fn inode(table: &str, here: SocketAddrV4, there: SocketAddrV4) -> Option<u64> {
    let (here, there) = (written(here), written(there));
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let found = fields.next()? == here && fields.next()? == there;
        // Between them: state, queues, timer, retransmissions, user, probes.
        found.then(|| fields.nth(6)?.parse().ok())?
    })
}

/// As the kernel writes it: the address as a number in the machine's byte order, in hexadecimal.
fn written(address: SocketAddrV4) -> String {
    let ip = u32::from_ne_bytes(address.ip().octets());
    format!("{ip:08X}:{:04X}", address.port())
}

fn holds(pid: u32, socket: &str) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    files
        .flatten()
        .any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to == Path::new(socket)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn the_process_at_the_other_end_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (accepted, _) = listener.accept().await.unwrap();
        let diallers = Diallers::default();
        diallers.admit(1, Identity::of(1));
        assert_eq!(diallers.who(&accepted).await, None, "no member dialled");
        diallers.admit(2, Identity::of(std::process::id()));
        assert_eq!(diallers.who(&accepted).await, Some(2));
        drop(dialled);
    }

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                     uid  timeout inode\n   0: 0100007F:0050 0200007F:C001 01 00000000:00000000 \
                     00:00000000 00000000     0        0 4711 1 0000000000000000 20 4 30 10 -1\n";
        let here = "127.0.0.1:80".parse().unwrap();
        let there = "127.0.0.2:49153".parse().unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!(inode(table, here, there), Some(4711));
            assert_eq!(inode(table, there, here), None);
        }
    }
}
