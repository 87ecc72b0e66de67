//! Who the founding members are: ids as etcd derives them, so that the same flags give the same ids.

use crate::config::Config;
use crate::raft::MemberNode;
use crate::types::{ClusterId, NodeId};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;

/// etcd's `--initial-cluster-token` where none is given.
const DEFAULT_TOKEN: &str = "etcd-cluster";

/// What `--initial-cluster` and the token determine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Founding {
    pub cluster: ClusterId,
    pub members: BTreeMap<NodeId, MemberNode>,
}

impl Founding {
    pub(super) fn new(initial_cluster: &[(String, Vec<String>)], token: &str) -> Self {
        let members: BTreeMap<NodeId, MemberNode> = initial_cluster
            .iter()
            .map(|(name, urls)| {
                let member = MemberNode {
                    name: name.clone(),
                    peer_urls: urls.clone(),
                    votes: true,
                };
                (member_id(urls, token), member)
            })
            .collect();
        let mut hash = Sha1::new();
        for id in members.keys() {
            hash.update(id.to_be_bytes());
        }
        Self {
            cluster: first_eight(&hash.finalize()),
            members,
        }
    }

    /// Whether the flags describe no cluster: they are what they are when nobody gives any.
    pub(super) fn is_by_default(config: &Config) -> bool {
        let alone = [(config.name.clone(), config.advertise_peer_urls.clone())];
        config.initial_cluster == alone && config.initial_cluster_token == DEFAULT_TOKEN
    }

    /// The founding member of a name.
    pub(super) fn id_of(&self, name: &str) -> Option<NodeId> {
        self.members
            .iter()
            .find(|(_, member)| member.name == name)
            .map(|(id, _)| *id)
    }
}

/// etcd's: the first eight bytes of sha1(sorted peer URLs, joined, then the cluster token).
fn member_id(peer_urls: &[String], token: &str) -> NodeId {
    let mut urls = peer_urls.to_vec();
    urls.sort();
    let mut hash = Sha1::new();
    for url in &urls {
        hash.update(url);
    }
    hash.update(token);
    first_eight(&hash.finalize())
}

pub(super) fn first_eight(digest: &[u8]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |id, byte| (id << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_etcds() {
        // `etcd --name default` with no flags says: member 8e9e05c52164694d, cluster cdf818194e3a8c32.
        let cluster = [(
            "default".to_owned(),
            vec!["http://localhost:2380".to_owned()],
        )];
        let founding = Founding::new(&cluster, "etcd-cluster");
        assert_eq!(founding.cluster, 0xcdf8_1819_4e3a_8c32);
        assert_eq!(founding.id_of("default"), Some(0x8e9e_05c5_2164_694d));
    }
}
