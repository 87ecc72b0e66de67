use super::*;

fn read_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<CommandLine, ConfigError> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    read(arguments.iter().map(|word| (*word).to_owned()), environment)
}

fn config(arguments: &[&str]) -> Config {
    match read_with(arguments, &[]).unwrap().start {
        Start::Serve(config) => *config,
        Start::Print(text) => panic!("{text}"),
    }
}

fn sentence(arguments: &[&str]) -> (String, u8) {
    let error = read_with(arguments, &[]).unwrap_err();
    (error.sentence, error.exit_code)
}

#[test]
fn no_flags_is_a_single_member_on_2379_and_2380() {
    let config = config(&[]);
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(config.listen_client, ["localhost:2379"]);
    assert_eq!(config.listen_peer, ["localhost:2380"]);
    assert_eq!(config.advertise_client_urls, ["http://localhost:2379"]);
    let peers = vec!["http://localhost:2380".to_owned()];
    assert_eq!(
        config.initial_cluster,
        [("default".to_owned(), peers.clone())]
    );
    assert_eq!(config.advertise_peer_urls, peers);
    assert_eq!(config.initial_cluster_state, ClusterState::New);
    assert_eq!(config.initial_cluster_token, "etcd-cluster");
    assert_eq!(config.heartbeat_interval, Duration::from_millis(50));
    assert_eq!(config.election_timeout, Duration::from_millis(300));
    assert_eq!(config.snapshot_count, 10_000);
    assert_eq!(config.quota_bytes, Some(2 << 30));
    assert_eq!(config.auto_compaction, AutoCompaction::Off);
    assert_eq!(config.max_request_bytes, 1_572_864);
    assert_eq!(config.max_txn_ops, 128);
    assert_eq!(config.watch_progress_interval, Duration::from_secs(600));
    assert_eq!(config.log_level, "info");
    assert!(config.peer_dial.is_empty());
    assert_eq!(config.sync_journal, None);
    assert_eq!(config.request_timeout(), Duration::from_millis(5600));
}

#[test]
fn a_flag_may_be_written_in_four_ways() {
    for arguments in [
        ["--name", "m1"].as_slice(),
        &["-name", "m1"],
        &["--name=m1"],
        &["-name=m1"],
    ] {
        assert_eq!(config(arguments).name, "m1", "{arguments:?}");
    }
    assert_eq!(config(&["--name", "m1"]).data_dir, PathBuf::from("m1.etcd"));
    assert_eq!(config(&["--name=a=b"]).name, "a=b");
    // The last one wins, as in Go.
    assert_eq!(config(&["--name", "m1", "--name", "m2"]).name, "m2");
}

#[test]
fn the_environment_fills_in_and_never_contradicts() {
    let with = |environment| read_with(&["--name", "m1"], environment);
    let line = with(&[
        ("ETCD_MAX_TXN_OPS", "7"),
        ("ETCD_DATA_DIR", ""),
        ("HOME", "/"),
    ])
    .unwrap();
    let Start::Serve(config) = line.start else {
        panic!()
    };
    assert_eq!(
        (config.max_txn_ops, config.data_dir),
        (7, PathBuf::from("m1.etcd"))
    );
    assert!(line.warnings.is_empty());
    let line = with(&[("ETCD_VERSION", "3.5.0"), ("ETCDCTL_API", "3")]).unwrap();
    assert_eq!(
        line.warnings,
        ["unrecognized environment variable ETCD_VERSION=3.5.0"]
    );
    let error = with(&[("ETCD_NAME", "m2")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "conflicting environment variable \"ETCD_NAME\" is shadowed by corresponding command-line \
         flag \"name\" (either unset environment variable or disable flag)"
    );
    assert_eq!(error.exit_code, 1);
    let dial = ("QUORATE_PEER_DIAL", "http://127.0.0.1:2380=127.0.0.1:9");
    let Start::Serve(config) = with(&[dial]).unwrap().start else {
        panic!()
    };
    assert_eq!(config.peer_dial["http://127.0.0.1:2380"], "127.0.0.1:9");
}

#[test]
fn a_user_s_timers_keep_the_proportion() {
    let timers = |arguments| {
        let config = config(arguments);
        (
            config.heartbeat_interval.as_millis(),
            config.election_timeout.as_millis(),
        )
    };
    assert_eq!(timers(&["--election-timeout=1000"]), (50, 1000));
    assert_eq!(timers(&["--election-timeout=120"]), (20, 120));
    assert_eq!(timers(&["--election-timeout=5"]), (1, 5));
    assert_eq!(timers(&["--heartbeat-interval=10"]), (10, 300));
    assert_eq!(timers(&["--heartbeat-interval=100"]), (100, 600));
    assert_eq!(
        timers(&["--heartbeat-interval=100", "--election-timeout=500"]),
        (100, 500)
    );
}

#[test]
fn the_corruption_checks_have_the_names_of_every_etcd() {
    let checks = |line: &[&str]| {
        let config = config(line);
        (config.initial_corrupt_check, config.corrupt_check_time)
    };
    assert_eq!(checks(&[]), (false, None));
    for line in [
        "--initial-corrupt-check",
        "--experimental-initial-corrupt-check=true",
        "--feature-gates=CompactHashCheck=true,InitialCorruptCheck=true",
    ] {
        assert_eq!(checks(&[line]), (true, None), "{line}");
    }
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(checks(&["--corrupt-check-time=1h"]), (false, hour));
    let old = ["--experimental-corrupt-check-time", "60m"];
    assert_eq!(checks(&old), (false, hour));
    assert_eq!(checks(&["--corrupt-check-time=0s"]), (false, None));
    let refused = |gates: &str| sentence(&["--feature-gates", gates]).0;
    assert_eq!(
        refused("Nothing=true"),
        "unrecognized feature gate: Nothing"
    );
    let never = "feature gate StopGRPCServiceOnDefrag is always false here";
    assert_eq!(refused("StopGRPCServiceOnDefrag=true"), never);
    assert!(refused("InitialCorruptCheck").contains("missing bool value"));
}

#[test]
fn a_progress_interval_has_two_names_and_a_least() {
    let interval = |flag: &str| config(&[flag]).watch_progress_interval;
    let named = |name: &str, value: &str| interval(&format!("--{name}={value}"));
    let (new, old) = (
        "watch-progress-notify-interval",
        "experimental-watch-progress-notify-interval",
    );
    assert_eq!(named(new, "5s"), Duration::from_secs(5));
    assert_eq!(named(old, "5s"), Duration::from_secs(5));
    assert_eq!(named(new, "1ms"), Duration::from_millis(100));
    assert_eq!(named(new, "0"), Duration::from_secs(600));
}

#[test]
fn a_quota_is_etcd_s_where_none_is_given_and_none_where_it_is_negative() {
    let quota = |bytes: &str| config(&["--quota-backend-bytes", bytes]).quota_bytes;
    assert_eq!(quota("0"), Some(2 << 30));
    assert_eq!(quota("-1"), None);
    // Beyond what etcd's own store could hold.
    assert_eq!(quota("1099511627776"), Some(1 << 40));
}

#[test]
fn a_retention_is_a_time_or_a_number_as_the_mode_says() {
    let retention = |mode: &str, retention: &str| {
        let mode = format!("--auto-compaction-mode={mode}");
        config(&[&mode, "--auto-compaction-retention", retention]).auto_compaction
    };
    let periodic = |seconds| AutoCompaction::Periodic(Duration::from_secs(seconds));
    assert_eq!(retention("periodic", "2"), periodic(7200));
    assert_eq!(retention("periodic", "10m"), periodic(600));
    assert_eq!(retention("periodic", "1h30m"), periodic(5400));
    assert_eq!(retention("periodic", "0s"), AutoCompaction::Off);
    assert_eq!(
        retention("revision", "1000"),
        AutoCompaction::Revisions(1000)
    );
    assert_eq!(retention("revision", "0"), AutoCompaction::Off);
    // The mode is periodic where none is given.
    let hours = config(&["--auto-compaction-retention=1"]).auto_compaction;
    assert_eq!(hours, periodic(3600));
}

#[test]
fn a_cluster_of_three_is_read_in_its_order() {
    let config = config(&[
        "--name=m2",
        "--initial-advertise-peer-urls=http://10.0.0.2:2380",
        "--initial-cluster=m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m3=http://m3.local:2380",
        "--initial-cluster-state=existing",
    ]);
    let names: Vec<_> = config
        .initial_cluster
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["m1", "m2", "m3"]);
    assert_eq!(config.initial_cluster[2].1, ["http://m3.local:2380"]);
    assert_eq!(config.initial_cluster_state, ClusterState::Existing);
}

#[test]
fn every_mistake_is_one_sentence() {
    let client = "--advertise-client-urls=http://127.0.0.1:2379";
    for (arguments, expected, code) in [
        (["extra"].as_slice(), "\"extra\" is not a valid flag", 1),
        (
            &["--name", "m", "extra"],
            "\"extra\" is not a valid flag",
            1,
        ),
        (&["--", "extra"], "\"extra\" is not a valid flag", 1),
        (&["-"], "\"-\" is not a valid flag", 1),
        (
            &["--frobnicate"],
            "flag provided but not defined: -frobnicate",
            2,
        ),
        (
            &["-frobnicate=1"],
            "flag provided but not defined: -frobnicate",
            2,
        ),
        (&["--name"], "flag needs an argument: -name", 2),
        (&["---name=x"], "bad flag syntax: ---name=x", 2),
        (&["--=x"], "bad flag syntax: --=x", 2),
        (
            &["--version=x"],
            "invalid boolean value \"x\" for -version: parse error",
            2,
        ),
        (
            &["--listen-client-urls=http://127.0.0.1:2379"],
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
            1,
        ),
        (
            &["--listen-client-urls=http://example.com:2379", client],
            "invalid value \"http://example.com:2379\" for --listen-client-urls: expected IP in \
             URL for binding (http://example.com:2379)",
            1,
        ),
        (
            &["--listen-client-urls=http://127.0.0.1", client],
            "invalid value \"http://127.0.0.1\" for --listen-client-urls: URL address does not \
             have the form \"host:port\": http://127.0.0.1",
            1,
        ),
        (
            &["--listen-peer-urls=127.0.0.1:2380"],
            "invalid value \"127.0.0.1:2380\" for --listen-peer-urls: URL scheme must be http, \
             https, unix, or unixs: 127.0.0.1:2380",
            1,
        ),
        (
            &["--listen-peer-urls=http://127.0.0.1:2380/path"],
            "invalid value \"http://127.0.0.1:2380/path\" for --listen-peer-urls: URL must not \
             contain a path: http://127.0.0.1:2380/path",
            1,
        ),
        (
            &["--listen-peer-urls=https://127.0.0.1:2380"],
            "invalid value \"https://127.0.0.1:2380\" for --listen-peer-urls: https is not there \
             yet: https://127.0.0.1:2380",
            1,
        ),
        (
            &["--name=m9", "--initial-cluster=m1=http://localhost:2380"],
            "couldn't find local name \"m9\" in the initial cluster configuration",
            1,
        ),
        (
            &["--initial-cluster=default=http://10.0.0.1:2380"],
            "--initial-cluster has default=http://10.0.0.1:2380 but missing from \
             --initial-advertise-peer-urls=http://localhost:2380",
            1,
        ),
        (
            &[
                "--initial-cluster=default=http://10.0.0.1:1",
                "--initial-advertise-peer-urls=http://10.0.0.1:1,http://10.0.0.1:2",
            ],
            "--initial-advertise-peer-urls has default=http://10.0.0.1:2 but missing from \
             --initial-cluster=default=http://10.0.0.1:1",
            1,
        ),
        (
            &["--initial-cluster=a=http://h:1,b=http://h:1"],
            "initial cluster a=http://h:1,b=http://h:1 has duplicate url",
            1,
        ),
        (
            &["--initial-cluster=a"],
            "invalid value \"a\" for --initial-cluster: \"a\" is not name=URL",
            1,
        ),
        (
            &["--initial-cluster-state=old"],
            "invalid value \"old\" for --initial-cluster-state: neither \"new\" nor \"existing\"",
            1,
        ),
        (
            &["--heartbeat-interval=100", "--election-timeout=400"],
            "--election-timeout[400ms] should be at least as 5 times as --heartbeat-interval[100ms]",
            1,
        ),
        (
            &["--election-timeout=60000"],
            "--election-timeout[60000ms] is too long, and should be set less than 50000ms",
            1,
        ),
        (
            &["--heartbeat-interval=0"],
            "--heartbeat-interval must be >0 (set to 0ms)",
            1,
        ),
        (
            &["--max-txn-ops=-1"],
            "invalid value \"-1\" for --max-txn-ops: not a whole number",
            1,
        ),
        (
            &["--quota-backend-bytes=2GB"],
            "invalid value \"2GB\" for --quota-backend-bytes: not a whole number",
            1,
        ),
        (
            &["--auto-compaction-mode=hourly"],
            "unknown auto-compaction-mode \"hourly\"",
            1,
        ),
        (
            &["--auto-compaction-mode="],
            "undefined auto-compaction-mode",
            1,
        ),
        (
            &["--auto-compaction-retention=-1"],
            "error parsing CompactionRetention: time: invalid duration \"-1\"",
            1,
        ),
        (
            &["--auto-compaction-retention=1ms"],
            "error parsing CompactionRetention: \"1ms\" is shorter than 100ms",
            1,
        ),
        (
            &[
                "--auto-compaction-mode=revision",
                "--auto-compaction-retention=1h",
            ],
            "error parsing CompactionRetention: \"1h\" is not a number of revisions",
            1,
        ),
        (
            &["--max-request-bytes=0"],
            "--max-request-bytes=0 is out of range",
            1,
        ),
        (
            &["--max-request-bytes=5000000000"],
            "--max-request-bytes=5000000000 is out of range",
            1,
        ),
        (
            &["--max-request-bytes=25165825"],
            "--max-request-bytes=25165825 is too large: members hand each other requests of at \
             most 25165824 bytes",
            1,
        ),
        (&["--log-level=loud"], "unrecognized level: \"loud\"", 1),
        (
            &["--peer-dial=http://h:1"],
            "invalid value \"http://h:1\" for --peer-dial: \"http://h:1\" is not URL=host:port",
            1,
        ),
    ] {
        assert_eq!(
            sentence(arguments),
            (expected.to_owned(), code),
            "{arguments:?}"
        );
    }
}

#[test]
fn the_version_has_four_lines_and_etcd_s_comes_first() {
    let Start::Print(text) = read_with(&["-version"], &[]).unwrap().start else {
        panic!()
    };
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], format!("etcd Version: {ETCD_VERSION}"));
    assert_eq!(lines[1], format!("Quorate Version: {QUORATE_VERSION}"));
    assert!(lines.iter().all(|line| line.contains(": ")));
    let Start::Print(help) = read_with(&["--help"], &[]).unwrap().start else {
        panic!()
    };
    assert!(help.contains("--initial-cluster-token"));
    assert!(!help.contains("peer-dial") && !help.contains("journal"));
    let off = read_with(&["--version=false"], &[]).unwrap().start;
    assert!(matches!(off, Start::Serve(_)));
}

#[test]
fn an_ipv6_address_and_an_empty_host_are_urls() {
    let config = config(&[
        "--listen-peer-urls=http://[::1]:2380,http://:2381",
        "--initial-advertise-peer-urls=http://[::1]:2380",
    ]);
    assert_eq!(config.listen_peer, ["0.0.0.0:2381", "[::1]:2380"]);
    assert_eq!(config.advertise_peer_urls, ["http://[::1]:2380"]);
}
