//! Links against an echo server: what passes, what vanishes, what is reset.

use super::*;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough for bytes that are not cut to arrive on loopback many times over.
const SILENCE: Duration = Duration::from_millis(150);

/// A server that sends back what it hears, and a link to it.
async fn echo_behind_a_link() -> (Link, String) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = server.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = server.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    let link = Link::open("127.0.0.1:0", target).await.unwrap();
    let address = link.address().to_string();
    (link, address)
}

async fn echoes(stream: &mut TcpStream, word: &[u8]) -> bool {
    stream.write_all(word).await.unwrap();
    let mut heard = vec![0; word.len()];
    timeout(PATIENCE, stream.read_exact(&mut heard))
        .await
        .unwrap()
        .unwrap();
    heard == word
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(SILENCE, stream.read(&mut [0; 16])).await.is_err()
}

async fn is_reset(stream: &mut TcpStream) -> bool {
    let read = timeout(PATIENCE, stream.read(&mut [0; 16])).await.unwrap();
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

const FORTH: LinkState = LinkState {
    forth_cut: true,
    back_cut: false,
    delay: Duration::ZERO,
};
const BACK: LinkState = LinkState {
    forth_cut: false,
    back_cut: true,
    delay: Duration::ZERO,
};

#[tokio::test]
async fn an_open_link_forwards_bytes_and_ends() {
    let (_link, address) = echo_behind_a_link().await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    assert!(echoes(&mut stream, b"hello").await);
    stream.shutdown().await.unwrap();
    let end = timeout(PATIENCE, stream.read(&mut [0; 16]))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(end, 0);
}

#[tokio::test]
async fn each_direction_can_be_cut_and_healing_resets_what_lost_bytes() {
    for cut in [FORTH, BACK] {
        let (link, address) = echo_behind_a_link().await;
        let mut stream = TcpStream::connect(&address).await.unwrap();
        assert!(echoes(&mut stream, b"before").await);
        link.set(cut);
        stream.write_all(b"lost").await.unwrap();
        assert!(is_silent(&mut stream).await);
        link.set(LinkState::default());
        assert!(is_reset(&mut stream).await);
        let mut again = TcpStream::connect(&address).await.unwrap();
        assert!(echoes(&mut again, b"after").await);
    }
}

#[tokio::test]
async fn a_connection_that_lost_nothing_survives_a_cut() {
    let (link, address) = echo_behind_a_link().await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    assert!(echoes(&mut stream, b"before").await);
    link.set(FORTH);
    assert!(is_silent(&mut stream).await);
    link.set(LinkState::default());
    assert!(echoes(&mut stream, b"after").await);
}

#[tokio::test]
async fn a_connection_opened_during_a_cut_hangs_and_is_reset_at_heal() {
    for cut in [FORTH, BACK] {
        let (link, address) = echo_behind_a_link().await;
        link.set(cut);
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"anybody?").await.unwrap();
        assert!(is_silent(&mut stream).await);
        link.set(LinkState::default());
        assert!(is_reset(&mut stream).await);
    }
}

#[tokio::test]
async fn an_end_does_not_cross_a_cut() {
    let (link, address) = echo_behind_a_link().await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    assert!(echoes(&mut stream, b"before").await);
    link.set(FORTH);
    stream.shutdown().await.unwrap();
    // The echo server, had it seen the end, would have ended too.
    assert!(is_silent(&mut stream).await);
    link.set(LinkState::default());
    assert!(is_reset(&mut stream).await);
}

#[tokio::test]
async fn that_the_receiver_is_gone_does_not_cross_a_cut() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = server.local_addr().unwrap().to_string();
    let link = Link::open("127.0.0.1:0", target).await.unwrap();
    let mut dialler = TcpStream::connect(link.address()).await.unwrap();
    let (mut dialled, _) = server.accept().await.unwrap();
    dialler.write_all(b"before").await.unwrap();
    dialled.read_exact(&mut [0; 6]).await.unwrap();
    link.set(FORTH);
    drop(dialler);
    // The first of these meets a closed socket, the later ones a reset.
    for _ in 0..3 {
        dialled.write_all(b"anybody?").await.unwrap();
        assert!(is_silent(&mut dialled).await);
    }
    link.set(LinkState::default());
    assert!(is_reset(&mut dialled).await);
}

#[tokio::test]
async fn a_delay_holds_bytes_back_in_order() {
    let (link, address) = echo_behind_a_link().await;
    let delay = Duration::from_millis(40);
    link.set(LinkState {
        delay,
        ..LinkState::default()
    });
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let start = Instant::now();
    for word in [b"one", b"two"] {
        stream.write_all(word).await.unwrap();
    }
    let mut heard = [0; 6];
    timeout(PATIENCE, stream.read_exact(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&heard, b"onetwo");
    assert!(start.elapsed() >= 2 * delay);
}

#[tokio::test]
async fn a_dead_target_is_a_reset() {
    let probe = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = probe.local_addr().unwrap().to_string();
    let listen = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    drop(probe);
    let _link = Link::open(&listen, dead).await.unwrap();
    let mut stream = TcpStream::connect(&listen).await.unwrap();
    assert!(is_reset(&mut stream).await);
}
