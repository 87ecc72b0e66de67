//! Stories of the real binary: its names, its command lines, its words and exit codes.

use quorate::proto::health::HealthCheckRequest;
use quorate::proto::health::health_check_response::ServingStatus;
use quorate::proto::health::health_client::HealthClient;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_quorate");
/// Long enough for anything that will ever happen on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Without the variables of whoever runs the tests.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Where a member lives.
struct Place {
    _dir: tempfile::TempDir,
    data_dir: PathBuf,
    endpoint: String,
    peer_url: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            data_dir: dir.path().join("data"),
            _dir: dir,
            endpoint: format!("127.0.0.1:{}", free_port()),
            peer_url: format!("http://127.0.0.1:{}", free_port()),
        }
    }
}

/// A running member, killed when dropped.
struct Server {
    child: Child,
    place: Place,
    /// What it says on stderr.
    said: mpsc::Receiver<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    fn started(flags: &[&str]) -> Self {
        let mut program = command(Path::new(BINARY));
        program.arg("serve");
        Self::start(program, flags)
    }

    /// Returns once it said that it is ready.
    fn start(program: Command, flags: &[&str]) -> Self {
        let server = Self::spawn(program, Place::new(), flags);
        server.becomes_ready();
        server
    }

    fn spawn(mut program: Command, place: Place, flags: &[&str]) -> Self {
        let client_url = format!("http://{}", place.endpoint);
        let mut child = program
            .arg("--data-dir")
            .arg(&place.data_dir)
            .args(["--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &place.peer_url])
            .args(["--initial-advertise-peer-urls", &place.peer_url])
            .args(flags)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (say, said) = mpsc::channel();
        // Reads on to the end, so that the member never waits for somebody to read.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                say.send(line).ok();
            }
        });
        Self { child, place, said }
    }

    fn becomes_ready(&self) {
        loop {
            let line = self.said.recv_timeout(PATIENCE).expect("it becomes ready");
            if line.contains("\"msg\":\"ready to serve client requests\"") {
                return;
            }
        }
    }

    fn client(&self) -> Command {
        let mut client = command(Path::new(BINARY));
        client.env("ETCDCTL_ENDPOINTS", &self.place.endpoint);
        client
    }

    /// What a client's command prints; it must succeed.
    fn says<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Vec<u8> {
        let output = self.client().args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stderr, b"", "{output:?}");
        output.stdout
    }

    fn text(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.says(arguments)).unwrap()
    }

    /// The sentence and exit code of a client's command that must fail.
    fn fails(&self, arguments: &[&str]) -> (String, i32) {
        failure(&self.client().args(arguments).output().unwrap())
    }

    fn txn(&self, script: &str) -> Output {
        let mut client = self.client();
        client.arg("txn").stdin(Stdio::piped());
        client.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = client.spawn().unwrap();
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(script.as_bytes()).unwrap();
        drop(stdin);
        client.wait_with_output().unwrap()
    }
}

fn failure(output: &Output) -> (String, i32) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
    (
        stderr.trim_end().to_owned(),
        output.status.code().expect("an exit, not a signal"),
    )
}

#[test]
fn a_client_reads_and_writes_in_etcdctls_words() {
    let server = Server::started(&[]);
    assert_eq!(server.text(&["put", "a", "1"]), "OK\n");
    assert_eq!(server.text(&["put", "b", "2"]), "OK\n");
    assert_eq!(server.text(&["get", "a"]), "a\n1\n");
    assert_eq!(
        server.text(&["get", "a", "--prefix=t", "--prefix=f"]),
        "a\n1\n"
    );
    assert_eq!(server.text(&["get", "", "--from-key"]), "a\n1\nb\n2\n");
    let output = server.txn("value(\"a\") = \"1\"\n\nput c 3\nget c\n\n\n");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "SUCCESS\n\nOK\n\nc\n3\n"
    );
    assert_eq!(server.text(&["del", "a", "c"]), "2\n");
    assert_eq!(server.text(&["compaction", "4"]), "compacted revision 4\n");
    assert_eq!(
        server.fails(&["get", "a", "--rev=3"]),
        (
            "Error: etcdserver: mvcc: required revision has been compacted".to_owned(),
            1
        )
    );

    let status = server.text(&["status"]);
    let fields: Vec<&str> = status.trim_end().split(", ").collect();
    assert_eq!(fields[0], server.place.endpoint);
    assert_eq!(fields[2], "3.6.8");
    assert_eq!(fields[4], "true", "the only member leads: {status}");
    let members = server.text(&["member", "list"]);
    let expected = format!(
        "{}, started, default, {}, http://{}, false\n",
        fields[1], server.place.peer_url, server.place.endpoint
    );
    assert_eq!(members, expected);
    let health = server.text(&["endpoint", "health"]);
    assert!(health.contains("is healthy"), "{health}");
}

#[test]
fn a_value_need_not_be_text() {
    let server = Server::started(&[]);
    let value = OsStr::from_bytes(b"\xff\xfe");
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let put = [words(&["put", "k"]), vec![value.to_owned()]].concat();
    assert_eq!(server.says(&put), b"OK\n");
    assert_eq!(server.says(&["get", "k"]), b"k\n\xff\xfe\n");
    let get = [words(&["get", "--prefix"]), vec![value.to_owned()]].concat();
    assert_eq!(server.says(&get), b"");
}

#[tokio::test]
async fn called_etcd_it_is_one_and_its_health_says_serving() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = dir.path().join("etcd");
    std::os::unix::fs::symlink(BINARY, &etcd).unwrap();
    let output = command(&etcd).arg("--version").output().unwrap();
    assert!(output.status.success());
    assert!(
        output.stdout.starts_with(b"etcd Version: 3.6.8\n"),
        "{output:?}"
    );

    let server = Server::start(command(&etcd), &["-name", "m1"]);
    let mut health = HealthClient::connect(format!("http://{}", server.place.endpoint))
        .await
        .unwrap();
    let answer = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);

    let mode = std::fs::metadata(&server.place.data_dir)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700, "nobody else's to read");

    let etcdctl = dir.path().join("etcdctl");
    std::os::unix::fs::symlink(BINARY, &etcdctl).unwrap();
    let output = command(&etcdctl)
        .args(["--endpoints", &server.place.endpoint, "put", "k", "v"])
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"OK\n", "{output:?}");
}

#[test]
fn the_version_is_printed_without_a_member() {
    let output = command(Path::new(BINARY))
        .arg("--version")
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("etcd Version: 3.6.8\nQuorate Version: "),
        "{text}"
    );
}

#[test]
fn what_keeps_it_from_starting_is_one_sentence_and_leaves_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("http://{}", taken.local_addr().unwrap());
    let free = || format!("http://127.0.0.1:{}", free_port());
    let (peer, client) = (free(), free());
    for (flags, words, code) in [
        (
            vec![
                "--listen-client-urls",
                &taken,
                "--advertise-client-urls",
                &taken,
            ],
            "cannot listen for clients",
            1,
        ),
        (
            vec!["--listen-peer-urls", &taken],
            "cannot listen for peers",
            1,
        ),
        (
            vec!["--no-such-flag"],
            "flag provided but not defined: -no-such-flag",
            2,
        ),
        (vec!["--max-txn-ops=many"], "invalid value \"many\"", 1),
        (vec!["--max-request-bytes=70000000"], "is too large", 1),
        (vec!["--heartbeat-interval", "0"], "must be >0", 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let mut program = command(Path::new(BINARY));
        program.arg("serve").arg("--data-dir").arg(&data_dir);
        // Overridden by what is said again.
        program.args(["--listen-peer-urls", &peer, "--listen-client-urls", &client]);
        program.args(["--advertise-client-urls", &client]);
        let output = program.args(&flags).output().unwrap();
        let (sentence, exit) = failure(&output);
        assert!(sentence.starts_with("quorate: "), "{sentence}");
        assert!(sentence.contains(words), "{sentence}");
        assert_eq!(exit, code, "{sentence}");
        assert!(!data_dir.exists(), "{sentence}");
    }
}

#[test]
fn the_limits_that_were_asked_for_hold() {
    let server = Server::started(&["--max-txn-ops=2", "--max-request-bytes=1000"]);
    let (text, code) = server.fails(&["put", "k", &"v".repeat(1000)]);
    assert_eq!(text, "Error: etcdserver: request is too large");
    assert_eq!(code, 1);
    assert_eq!(server.text(&["put", "k", &"v".repeat(900)]), "OK\n");
    let (text, code) = failure(&server.txn("\nput a 1\nput b 2\nput c 3\n\n\n"));
    assert_eq!(
        text,
        "Error: etcdserver: too many operations in txn request"
    );
    assert_eq!(code, 1);
    let two = server.txn("\nput a 1\nput b 2\n\n\n");
    assert!(two.status.success(), "{two:?}");
}

#[test]
fn what_a_client_cannot_do_is_said_at_once() {
    let output = command(Path::new(BINARY))
        .args(["--endpoints", "https://127.0.0.1:1", "get", "k"])
        .output()
        .unwrap();
    let (text, code) = failure(&output);
    assert_eq!(
        text,
        "Error: endpoint \"https://127.0.0.1:1\" cannot be used: there is no TLS yet"
    );
    assert_eq!(code, 128);
}

/// Runs `quorate data`; what it prints, or its sentence and exit code.
fn data(arguments: &[&str]) -> Result<String, (String, i32)> {
    let mut program = command(Path::new(BINARY));
    let output = program.arg("data").args(arguments).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(failure(&output)),
    }
}

#[test]
fn a_backup_of_one_member_founds_three_and_a_damaged_one_nothing() {
    let one = Server::started(&[]);
    one.says(&["put", "k", "v"]);
    let granted = one.text(&["lease", "grant", "3600"]);
    let lease = granted.split(' ').nth(1).unwrap();
    one.says(&["put", "leased", "v", "--lease", lease]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");
    let backup = path.to_str().unwrap();
    one.says(&["snapshot", "save", backup]);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "all the data is in it");
    let status = data(&["status", backup, "-w", "fields"]).unwrap();
    assert!(
        status.contains("\"Revision\" : 3\n\"Keys\" : 2\n"),
        "{status}"
    );
    drop(one);

    let places: Vec<Place> = (0..3).map(|_| Place::new()).collect();
    let named = (1..).zip(&places);
    let members: Vec<String> = named
        .map(|(number, place)| format!("n{number}={}", place.peer_url))
        .collect();
    let cluster = members.join(",");
    let restore = |name: &str, place: &Place| {
        let data_dir = place.data_dir.to_str().unwrap();
        let peer_url = &place.peer_url;
        let mut arguments = vec!["restore", backup, "--name", name, "--data-dir", data_dir];
        arguments.extend(["--initial-cluster", &cluster]);
        arguments.extend(["--initial-advertise-peer-urls", peer_url]);
        data(&arguments)
    };
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (bytes, word) in [
        (&whole[..whole.len() - 512], "cut off"),
        (&flipped, "damaged"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let (sentence, code) = restore("n1", &places[0]).unwrap_err();
        assert!(sentence.contains(word) && code == 1, "{sentence} ({code})");
        assert!(!places[0].data_dir.exists(), "{sentence}");
    }
    std::fs::write(&path, &whole).unwrap();

    let mut servers = Vec::new();
    for (number, place) in (1..).zip(places) {
        let name = format!("n{number}");
        let told = restore(&name, &place).unwrap();
        assert!(told.starts_with("restored revision 3 into "), "{told}");
        let mut program = command(Path::new(BINARY));
        program.arg("serve");
        let flags = ["--name", &name, "--initial-cluster", &cluster];
        servers.push(Server::spawn(program, place, &flags));
    }
    for server in &servers {
        server.becomes_ready();
    }
    // Revisions go on, history and the lease are there, on every member.
    servers[0].says(&["put", "k", "w"]);
    for server in &servers {
        let now = server.text(&["get", "k", "-w", "fields"]);
        assert!(now.contains("\"Revision\" : 4\n"), "{now}");
        assert!(now.contains("\"Version\" : 2\n"), "{now}");
        let before = server.text(&["get", "k", "--rev", "3", "--print-value-only"]);
        assert_eq!(before, "v\n");
        let left = server.text(&["lease", "timetolive", lease, "--keys"]);
        assert!(left.contains("granted with TTL(3600s)"), "{left}");
        assert!(left.contains("[leased]"), "{left}");
    }
    servers[1].says(&["lease", "revoke", lease]);
    assert_eq!(servers[2].text(&["get", "leased"]), "");
}
