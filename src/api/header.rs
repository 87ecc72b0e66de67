//! The header of every answer.

use crate::node::Node;
use crate::proto::etcdserverpb::ResponseHeader;
use crate::types::Revision;

/// `revision` belongs to the answer's own view or apply; the term is whatever it is now, as in
/// etcd, where nobody may rely on the two being of one moment.
pub(super) fn at(node: &Node, revision: Revision) -> ResponseHeader {
    let identity = node.identity();
    ResponseHeader {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
        revision,
        raft_term: node.term(),
    }
}

/// An operation inside a transaction shows its revision and nothing else.
pub(super) fn of_operation(revision: Revision) -> ResponseHeader {
    ResponseHeader {
        revision,
        ..ResponseHeader::default()
    }
}
