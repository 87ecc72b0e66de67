//! The judge's view of a member (`peer.proto` Inspect), from its consensus and its store.

use super::consensus::Consensus;
use super::wire::position_to_proto;
use crate::proto::peer;

pub(super) fn fill(answer: &mut peer::InspectResponse, consensus: &Consensus) {
    let status = consensus.status();
    let log = consensus.log();
    let store = consensus.store().load();
    let stats = log.stats();
    answer.vote = Some(peer::Vote {
        term: status.term,
        node: status.voted_for,
        committed: status.vote_committed,
    });
    answer.term = status.term;
    answer.leader = status.leader.unwrap_or(0);
    status.role.name().clone_into(&mut answer.role);
    answer.last_log = log.state().last.map(position_to_proto);
    answer.committed = status.committed.map(position_to_proto);
    answer.applied = store.applied().map(position_to_proto);
    answer.purged = log.state().purged.map(position_to_proto);
    answer.snapshot = status.snapshot.map(position_to_proto);
    answer.revision = store.revision();
    answer.compact_revision = store.compact_revision();
    answer.voters = status.voters;
    answer.learners = status.learners;
    answer.log_fsyncs = stats.fsyncs;
    answer.log_bytes = stats.bytes_written;
    answer.log_entries_appended = stats.entries_appended;
    answer.snapshots_installed = consensus.snapshots_installed();
}
