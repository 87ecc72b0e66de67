use super::*;

fn parse(words: &[&str], variables: &[(&str, &str)]) -> Result<Options, clap::Error> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    super::parse(with_environment(&words, variable))
}

fn get(words: &[&str]) -> Get {
    match parse(words, &[]).unwrap().command {
        Command::Get(get) => get,
        other => panic!("{other:?}"),
    }
}

#[test]
fn booleans_are_gos() {
    for on in [
        "--prefix",
        "--prefix=t",
        "--prefix=1",
        "--prefix=TRUE",
        "--prefix=True",
    ] {
        assert!(get(&["get", "k", on]).prefix, "{on}");
    }
    for off in ["--prefix=f", "--prefix=0", "--prefix=False"] {
        assert!(!get(&["get", "k", off]).prefix, "{off}");
    }
    assert!(parse(&["get", "k", "--prefix=yes"], &[]).is_err());
}

#[test]
fn a_flag_may_come_again() {
    let found = get(&[
        "get",
        "k",
        "--prefix",
        "--prefix=false",
        "--limit=1",
        "--limit=2",
    ]);
    assert_eq!((found.prefix, found.limit), (false, 2));
    let options = parse(
        &[
            "--hex",
            "get",
            "k",
            "--hex=false",
            "--endpoints=a:1,b:2",
            "--endpoints",
            "c:3",
        ],
        &[("ETCDCTL_ENDPOINTS", "d:4")],
    );
    let global = options.unwrap().global;
    assert!(!global.hex);
    assert_eq!(global.endpoints, ["a:1", "b:2", "c:3"]);
}

#[test]
fn the_environment_is_asked_unless_it_is_empty() {
    let variables = [
        ("ETCDCTL_ENDPOINTS", ""),
        ("ETCDCTL_HEX", "1"),
        ("ETCDCTL_WRITE_OUT", "json"),
        ("ETCDCTL_DIAL_TIMEOUT", ""),
        ("ETCDCTL_API", "3"),
    ];
    let global = parse(&["get", "k", "-w", "table"], &variables)
        .unwrap()
        .global;
    assert_eq!(global.endpoints, ["127.0.0.1:2379"]);
    assert!(global.hex);
    assert_eq!(global.write_out, "table");
    assert_eq!(global.refusal(), None);
    let global = parse(&["get", "k"], &[("ETCDCTL_ENDPOINTS", "a:1,b:2")])
        .unwrap()
        .global;
    assert_eq!(global.endpoints, ["a:1", "b:2"]);
}

#[test]
fn what_cannot_be_obeyed_is_refused_in_one_sentence() {
    for (word, sentence) in [
        (
            "--cacert=ca.pem",
            "--cacert cannot be obeyed: there is no TLS yet",
        ),
        (
            "--user=root:pw",
            "--user cannot be obeyed: there is no authentication yet",
        ),
        (
            "--insecure-transport=false",
            "--insecure-transport=false cannot be obeyed: there is no TLS yet",
        ),
        (
            "--endpoints=https://h:1",
            "endpoint \"https://h:1\" cannot be used: there is no TLS yet",
        ),
        (
            "--endpoints=a b",
            "endpoint \"a b\" cannot be used: not host:port",
        ),
    ] {
        let global = parse(&["get", "k", word], &[]).unwrap().global;
        assert_eq!(global.refusal().as_deref(), Some(sentence));
    }
    let harmless = [
        "--debug",
        "--insecure-discovery",
        "--insecure-transport",
        "--keepalive-time=1s",
        "--keepalive-timeout=1s",
        "--endpoints=http://h:1",
    ];
    for word in harmless {
        assert_eq!(
            parse(&["get", "k", word], &[]).unwrap().global.refusal(),
            None
        );
    }
}
