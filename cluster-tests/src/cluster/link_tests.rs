//! Links against an echo server: what passes, what vanishes, what is reset.

use super::*;
use crate::cluster::weather::{Quality, Weather};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough for bytes that are not cut to arrive on loopback many times over.
const SILENCE: Duration = Duration::from_millis(150);

/// Who dials, and who is dialled.
const FROM: usize = 1;
const TO: usize = 2;

/// A link, and the weather over it.
struct Scene {
    sky: Arc<Sky>,
    link: Link,
}

impl Scene {
    async fn open(listen: &str, address: String) -> Self {
        let sky = Sky::new(1);
        let target = Target { node: TO, address };
        let link = Link::open(listen, Origin::Node(FROM), target, &sky);
        let link = link.await.unwrap();
        Self { sky, link }
    }

    /// Each way is as it says, exactly.
    fn set(&self, forth: &Quality, back: &Quality) {
        let mut weather = Weather::clear();
        weather.worsen(FROM, TO, forth);
        weather.worsen(TO, FROM, back);
        self.sky.set(&weather);
    }

    fn heal(&self) {
        self.sky.set(&Weather::clear());
    }

    async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.link.address()).await.unwrap()
    }
}

/// A server that sends back what it hears, and a link to it.
async fn echo_behind_a_link() -> Scene {
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
    Scene::open("127.0.0.1:0", target).await
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

/// A cut of the one way, then of the other.
fn one_way_cuts(how: Cut) -> [(Quality, Quality); 2] {
    let (cut, clear) = (Quality::cut(how), Quality::default());
    [(cut.clone(), clear.clone()), (clear, cut)]
}

#[tokio::test]
async fn an_open_link_forwards_bytes_and_ends() {
    let scene = echo_behind_a_link().await;
    let mut stream = scene.dial().await;
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
    for (forth, back) in one_way_cuts(Cut::Drop) {
        let scene = echo_behind_a_link().await;
        let mut stream = scene.dial().await;
        assert!(echoes(&mut stream, b"before").await);
        scene.set(&forth, &back);
        stream.write_all(b"lost").await.unwrap();
        assert!(is_silent(&mut stream).await);
        scene.heal();
        assert!(is_reset(&mut stream).await);
        let mut again = scene.dial().await;
        assert!(echoes(&mut again, b"after").await);
    }
}

#[tokio::test]
async fn a_connection_that_lost_nothing_survives_a_cut() {
    let scene = echo_behind_a_link().await;
    let mut stream = scene.dial().await;
    assert!(echoes(&mut stream, b"before").await);
    scene.set(&Quality::cut(Cut::Drop), &Quality::default());
    assert!(is_silent(&mut stream).await);
    scene.heal();
    assert!(echoes(&mut stream, b"after").await);
}

#[tokio::test]
async fn a_connection_opened_during_a_cut_hangs_and_is_reset_at_heal() {
    for (forth, back) in one_way_cuts(Cut::Drop) {
        let scene = echo_behind_a_link().await;
        scene.set(&forth, &back);
        let mut stream = scene.dial().await;
        stream.write_all(b"anybody?").await.unwrap();
        assert!(is_silent(&mut stream).await);
        scene.heal();
        assert!(is_reset(&mut stream).await);
    }
}

#[tokio::test]
async fn an_end_does_not_cross_a_cut() {
    let scene = echo_behind_a_link().await;
    let mut stream = scene.dial().await;
    assert!(echoes(&mut stream, b"before").await);
    scene.set(&Quality::cut(Cut::Drop), &Quality::default());
    stream.shutdown().await.unwrap();
    // The echo server, had it seen the end, would have ended too.
    assert!(is_silent(&mut stream).await);
    scene.heal();
    assert!(is_reset(&mut stream).await);
}

#[tokio::test]
async fn that_the_receiver_is_gone_does_not_cross_a_cut() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = server.local_addr().unwrap().to_string();
    let scene = Scene::open("127.0.0.1:0", target).await;
    let mut dialler = scene.dial().await;
    let (mut dialled, _) = server.accept().await.unwrap();
    dialler.write_all(b"before").await.unwrap();
    dialled.read_exact(&mut [0; 6]).await.unwrap();
    scene.set(&Quality::cut(Cut::Drop), &Quality::default());
    drop(dialler);
    // The first of these meets a closed socket, the later ones a reset.
    for _ in 0..3 {
        dialled.write_all(b"anybody?").await.unwrap();
        assert!(is_silent(&mut dialled).await);
    }
    scene.heal();
    assert!(is_reset(&mut dialled).await);
}

#[tokio::test]
async fn a_delay_holds_bytes_back_in_order() {
    let scene = echo_behind_a_link().await;
    let delay = Duration::from_millis(40);
    let slow = Quality {
        delay_ms: 40,
        ..Quality::default()
    };
    scene.set(&slow, &slow);
    let mut stream = scene.dial().await;
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
    let scene = Scene::open(&listen, dead).await;
    let mut stream = scene.dial().await;
    assert!(is_reset(&mut stream).await);
}

#[tokio::test]
async fn a_way_that_resets_resets_what_is_open_and_what_is_opened() {
    for (forth, back) in one_way_cuts(Cut::Reset) {
        let scene = echo_behind_a_link().await;
        let mut stream = scene.dial().await;
        assert!(echoes(&mut stream, b"before").await);
        scene.set(&forth, &back);
        assert!(is_reset(&mut stream).await);
        let mut refused = scene.dial().await;
        assert!(is_reset(&mut refused).await);
        scene.heal();
        let mut again = scene.dial().await;
        assert!(echoes(&mut again, b"after").await);
    }
}

#[tokio::test]
async fn a_way_that_takes_nothing_new_carries_what_is_open() {
    for (forth, back) in one_way_cuts(Cut::NewOnly) {
        let scene = echo_behind_a_link().await;
        let mut stream = scene.dial().await;
        assert!(echoes(&mut stream, b"before").await);
        scene.set(&forth, &back);
        assert!(echoes(&mut stream, b"during").await);
        let mut new = scene.dial().await;
        new.write_all(b"anybody?").await.unwrap();
        assert!(is_silent(&mut new).await);
        scene.heal();
        assert!(is_reset(&mut new).await);
        assert!(echoes(&mut stream, b"after").await);
    }
}

#[tokio::test]
async fn what_is_too_large_wedges_its_direction_and_no_new_connection() {
    let scene = echo_behind_a_link().await;
    let mut stream = scene.dial().await;
    let short = Quality {
        largest: Some(100),
        ..Quality::default()
    };
    scene.set(&short, &Quality::default());
    assert!(echoes(&mut stream, b"a heartbeat").await);
    stream.write_all(&[7; 101]).await.unwrap();
    assert!(is_silent(&mut stream).await);
    stream.write_all(b"a heartbeat").await.unwrap();
    assert!(is_silent(&mut stream).await);
    let mut new = scene.dial().await;
    assert!(echoes(&mut new, b"a heartbeat").await);
    scene.heal();
    assert!(is_reset(&mut stream).await);
    assert!(echoes(&mut new, &[7; 101]).await);
}

#[tokio::test]
async fn all_connections_share_a_narrow_way() {
    let scene = echo_behind_a_link().await;
    let narrow = Quality {
        rate: Some(10_000),
        ..Quality::default()
    };
    scene.set(&narrow, &Quality::default());
    let (mut one, mut two) = (scene.dial().await, scene.dial().await);
    let start = Instant::now();
    let (first, second) = tokio::join!(echoes(&mut one, &[1; 2000]), echoes(&mut two, &[2; 2000]));
    assert!(first && second);
    assert!(start.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn a_lossy_way_loses_nothing_and_a_heal_ends_its_stalls() {
    let scene = echo_behind_a_link().await;
    let lossy = Quality {
        loss_per_mille: 1000,
        ..Quality::default()
    };
    let mut stream = scene.dial().await;
    scene.set(&lossy, &Quality::default());
    stream.write_all(b"word").await.unwrap();
    assert!(is_silent(&mut stream).await);
    scene.heal();
    let mut heard = [0; 4];
    let read = timeout(PATIENCE, stream.read_exact(&mut heard)).await;
    read.unwrap().unwrap();
    assert_eq!(&heard, b"word");
}
