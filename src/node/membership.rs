//! Who is in the cluster, as clients see it: the replicated membership, with what each member
//! published of itself when it started.

use crate::raft::Membership;
use crate::state_machine::command::MemberAttributes;
use crate::types::NodeId;

/// A member of the cluster as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: NodeId,
    /// Empty until the member has started and published itself.
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

/// Sorted by id, as etcd lists them.
pub(super) fn members(membership: &Membership, published: &[MemberAttributes]) -> Vec<Member> {
    let voters: Vec<NodeId> = membership.voter_ids().collect();
    membership
        .nodes()
        .map(|(id, node)| {
            let attributes = published.iter().find(|member| member.node == *id);
            Member {
                id: *id,
                name: attributes.map_or_else(|| node.name.clone(), |member| member.name.clone()),
                peer_urls: node.peer_urls.clone(),
                client_urls: attributes
                    .map(|member| member.client_urls.clone())
                    .unwrap_or_default(),
                is_learner: !voters.contains(id),
            }
        })
        .collect()
}
