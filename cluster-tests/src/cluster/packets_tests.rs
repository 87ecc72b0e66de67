//! Packets between two namespaces, in a namespace that the test makes by running itself again.

use super::*;
use crate::cluster::namespace;
use crate::cluster::topology::Topology;
use crate::cluster::weather::Cut;
use nix::sched::{CloneFlags, setns};
use std::net::{SocketAddr, TcpListener, TcpStream};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// TCP tries again after 200 ms, then 400 ms, and so on.
const SOON: Duration = Duration::from_secs(10);
/// Long enough for what is not cut to arrive.
const SILENCE: Duration = Duration::from_millis(150);

/// Does something in the namespace of a member; sockets that it opens stay there.
fn inside<T: Send>(packets: &mut Packets, node: usize, act: impl FnOnce() -> T + Send) -> T {
    let pid = packets.holders.get_mut(&node).unwrap().pid().unwrap();
    let net = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            setns(net, CloneFlags::CLONE_NEWNET).unwrap();
            act()
        });
        there.join().unwrap()
    })
}

/// A connection that node 1 dialled to node 2. Call it on a runtime, which the sockets are for.
fn dial(packets: &mut Packets, to: &TcpListener) -> Option<[tokio::net::TcpStream; 2]> {
    let address: SocketAddr = to.local_addr().unwrap();
    let dialled = inside(packets, 1, || TcpStream::connect_timeout(&address, SILENCE));
    let Ok(dialled) = dialled else {
        return None;
    };
    let (accepted, from) = to.accept().unwrap();
    assert_eq!(from.ip(), packets.layout.ip(1), "known by its address");
    Some([dialled, accepted].map(|stream| {
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::net::TcpStream::from_std(stream).unwrap()
    }))
}

async fn arrives(pair: &mut [tokio::net::TcpStream; 2], bytes: usize, within: Duration) -> bool {
    let [from, to] = pair;
    drop(timeout(within, from.write_all(&vec![1; bytes])).await);
    let mut heard = vec![0; bytes];
    timeout(within, to.read_exact(&mut heard))
        .await
        .is_ok_and(|read| read.is_ok())
}

#[tokio::test]
async fn a_filter_makes_the_weather() {
    if !is_entered() {
        let name = "cluster::packets::tests::a_filter_makes_the_weather";
        let again = namespace::command(&[name, "--exact", "--nocapture"].map(Into::into));
        match again.and_then(|again| tool("nft").map(|_| again)) {
            Ok(mut again) => assert!(again.status().unwrap().success()),
            Err(why) => println!("SKIPPED: {why:#}"),
        }
        return;
    }
    let mut packets = Packets::open(Layout::apart()).await.unwrap();
    let mut nobody = Process::new("/bin/false".into(), Vec::new(), "/dev/null".into());
    for node in 1..=2 {
        packets.admit(node, &mut nobody).await.unwrap();
    }
    let address = packets.layout.peer_address(2);
    let server = inside(&mut packets, 2, || TcpListener::bind(address).unwrap());
    let mut pair = dial(&mut packets, &server).unwrap();
    assert!(arrives(&mut pair, 10, SOON).await);

    let way = |quality: &Quality| {
        let mut weather = Weather::clear();
        weather.worsen(1, 2, quality);
        weather
    };
    packets.set(&way(&Quality::cut(Cut::Drop))).await.unwrap();
    assert!(!arrives(&mut pair, 10, SILENCE).await);
    assert!(dial(&mut packets, &server).is_none());
    // The other way is open: TCP hears it, and its answer is lost.
    pair.reverse();
    assert!(arrives(&mut pair, 10, SOON).await);
    pair.reverse();
    packets.set(&Weather::clear()).await.unwrap();
    assert!(arrives(&mut pair, 10, SOON).await, "sent again");

    packets
        .set(&way(&Quality::cut(Cut::NewOnly)))
        .await
        .unwrap();
    assert!(arrives(&mut pair, 10, SOON).await);
    assert!(dial(&mut packets, &server).is_none());

    let short = Quality {
        largest: Some(500),
        ..Quality::default()
    };
    packets.set(&way(&short)).await.unwrap();
    assert!(arrives(&mut pair, 400, SOON).await);
    assert!(!arrives(&mut pair, 600, SILENCE).await);

    let poor = Quality {
        loss_per_mille: 300,
        rate: Some(200_000),
        ..Quality::default()
    };
    packets.set(&way(&poor)).await.unwrap();
    let mut other = loop {
        if let Some(other) = dial(&mut packets, &server) {
            break other;
        }
    };
    assert!(arrives(&mut other, 1000, SOON).await);

    let both = Weather::cut(&Topology::link_down(1, 2), Cut::Reset);
    packets.set(&both).await.unwrap();
    other[0].write_all(b"word").await.unwrap();
    let read = timeout(SOON, other[0].read(&mut [0])).await.unwrap();
    assert_eq!(
        read.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );

    let slow = Quality {
        delay_ms: 1,
        ..Quality::default()
    };
    assert!(packets.set(&way(&slow)).await.is_err());
}
