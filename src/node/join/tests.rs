//! The flags of a joining member against what the cluster says of itself.

use super::*;
use crate::config::{CommandLine, Start, read};

fn config(cluster: &str) -> Config {
    let words = [
        "--name",
        "new",
        "--initial-advertise-peer-urls",
        "http://10.0.0.4:2380",
        "--initial-cluster",
        cluster,
        "--initial-cluster-state",
        "existing",
    ];
    let CommandLine { start, .. } = read(words.map(str::to_owned), []).unwrap();
    let Start::Serve(config) = start else {
        panic!("{start:?}");
    };
    *config
}

fn roster(urls: &[&str]) -> peer::RosterResponse {
    let member = |(id, url): (u64, &&str)| peer::RosterMember {
        id,
        peer_urls: vec![(*url).to_owned()],
        ..peer::RosterMember::default()
    };
    peer::RosterResponse {
        cluster_id: 7,
        leader: 1,
        confirmed: true,
        members: (1..).zip(urls).map(member).collect(),
    }
}

#[test]
fn a_joining_member_finds_its_id_by_its_peer_urls() {
    let config = config("a=http://10.0.0.1:2380,new=http://10.0.0.4:2380");
    let found = place(
        &config,
        roster(&["http://10.0.0.1:2380", "http://10.0.0.4:2380"]),
    )
    .unwrap();
    assert_eq!((found.cluster, found.node), (7, 2));
}

#[test]
fn flags_that_do_not_fit_the_cluster_are_refused_in_etcds_words() {
    let config = config("a=http://10.0.0.1:2380,new=http://10.0.0.4:2380");
    let reason = |urls: &[&str]| place(&config, roster(urls)).unwrap_err().to_string();
    assert_eq!(
        reason(&["http://10.0.0.1:2380"]),
        "error validating peerURLs: member count is unequal"
    );
    let reason = reason(&["http://10.0.0.1:2380", "http://10.0.0.9:2380"]);
    assert!(
        reason.contains("no match found for existing member (2, "),
        "{reason}"
    );
}
