//! Do the members hold the same? Whoever leads asks all of them, in two ways:
//!
//! * every minute, the *marks* that members keep of their digests (`mvcc::digest`). That costs
//!   nothing, so nobody has to ask for it. It finds members that made different changes of the same
//!   log, or the same changes of different data.
//! * every `--corrupt-check-time`, if it is given, a hash of every row (`mvcc::deep_hash`). It finds
//!   rows that changed on the disk and that no command has met since.
//!
//! Who is not as the majority of voters gets the alarm CORRUPT. From then on nobody's writes are
//! taken: what such a member was asked before it was found out is not known. An operator replaces it
//! and then disarms the alarm.

use super::agreement::{Agreement, agreement};
use super::{Node, NodeError};
use crate::mvcc::deep_hash::DeepHash;
use crate::mvcc::digest::Mark;
use crate::mvcc::{Alarm, AlarmKind};
use crate::raft::{HashUnknown, MemberNode};
use crate::types::{HexId, NodeId, Position, Revision};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Between two comparisons of marks.
const MARKS_INTERVAL: Duration = Duration::from_secs(60);
/// How long a member may take to hash all it holds.
pub(super) const HASH_PATIENCE: Duration = Duration::from_secs(600);
/// For so long it may be unclear who is wrong: a member that is away, or a moment behind, may say.
const DOUBT_MAX: Duration = Duration::from_secs(10);
/// Pause before a member that is behind is asked again.
const RETRY: Duration = Duration::from_millis(100);

/// Runs until the node has stopped, or it is dropped. `every`: how often all rows are compared;
/// `None` is never. Whatever is asked of other members may take `patience`, but for their hashes.
pub(super) async fn run(node: Node, every: Option<Duration>, patience: Duration) {
    let marks = async {
        let interval = every.map_or(MARKS_INTERVAL, |every| every.min(MARKS_INTERVAL));
        let mut doubt = Doubt::default();
        loop {
            sleep(interval).await;
            if node.is_leader() {
                let found = node.compare_marks(patience).await;
                let found = doubt.settle(found, Instant::now());
                node.accuse(found, "its changes are not those of the others", patience)
                    .await;
            }
        }
    };
    let rows = async {
        let Some(every) = every else { return };
        let mut doubt = Doubt::default();
        loop {
            sleep(every).await;
            if node.is_leader() {
                match node.compare_rows(patience).await {
                    Ok(found) => {
                        let found = doubt.settle(found, Instant::now());
                        let why = "its rows are not those of the others";
                        node.accuse(found, why, patience).await;
                    }
                    Err(error) => tracing::warn!(%error, "the members' rows are not compared"),
                }
            }
        }
    };
    tokio::join!(marks, rows);
}

/// How long it has been unclear who is wrong.
#[derive(Default)]
struct Doubt {
    since: Option<Instant>,
}

impl Doubt {
    /// What to act on: a split counts only once it has lasted.
    fn settle(&mut self, found: Agreement, now: Instant) -> Agreement {
        if found != Agreement::Split {
            self.since = None;
            return found;
        }
        let since = *self.since.get_or_insert(now);
        match now.duration_since(since) >= DOUBT_MAX {
            true => Agreement::Split,
            false => Agreement::Whole,
        }
    }
}

impl Node {
    /// All members but this one.
    fn others(&self) -> Vec<(NodeId, MemberNode)> {
        let me = self.identity().member_id;
        let others = self.members().into_iter().filter(|other| other.id != me);
        others
            .map(|other| {
                let node = MemberNode {
                    peer_urls: other.peer_urls,
                    ..MemberNode::default()
                };
                (other.id, node)
            })
            .collect()
    }

    fn voters(&self) -> BTreeSet<NodeId> {
        let members = self.members().into_iter();
        let voters = members.filter(|member| !member.is_learner);
        voters.map(|member| member.id).collect()
    }

    async fn compare_marks(&self, patience: Duration) -> Agreement {
        let others = self.others();
        let asked = others.iter().map(async |(id, member)| {
            let asked = self.inner.links.marks_of(*id, member);
            let marks = match timeout(patience, asked).await {
                Ok(Ok(marks)) => marks,
                Ok(Err(error)) => {
                    tracing::debug!(peer = %HexId(*id), %error, "no marks of a member");
                    Vec::new()
                }
                Err(_) => Vec::new(),
            };
            (*id, marks)
        });
        let mut heard = join_all(asked).await;
        heard.push((self.identity().member_id, self.store().marks()));
        judge_marks(&heard, &self.voters())
    }

    async fn compare_rows(&self, patience: Duration) -> Result<Agreement, NodeError> {
        let mine = self.deep_hash().await?;
        let others = self.others();
        let asked = others.iter().map(async |(id, member)| {
            let hash = self
                .deep_hash_of(*id, member, mine.revision, patience)
                .await;
            (*id, hash)
        });
        let mut heard = BTreeMap::from([(self.identity().member_id, mine.hash)]);
        for (id, hash) in join_all(asked).await {
            match hash {
                Ok(hash) if hash.compacted == mine.compacted => {
                    heard.insert(id, hash.hash);
                }
                // It is, or was, about to compact: next time.
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(peer = %HexId(id), %error, "a member's rows are not compared");
                }
            }
        }
        Ok(agreement(&heard, &self.voters()))
    }

    /// Waits until the other member has applied as much.
    async fn deep_hash_of(
        &self,
        id: NodeId,
        member: &MemberNode,
        revision: Revision,
        patience: Duration,
    ) -> Result<DeepHash, HashUnknown> {
        let until = Instant::now() + patience;
        loop {
            let asked = self.inner.links.deep_hash_of(id, member, revision);
            match timeout(HASH_PATIENCE, asked).await {
                Ok(Err(HashUnknown::NotYet(_))) if Instant::now() < until => sleep(RETRY).await,
                Ok(answered) => return answered,
                Err(late) => return Err(HashUnknown::Never(late.to_string())),
            }
        }
    }

    /// Raises the alarm for whoever was found to differ; for nobody by name if nobody can say who
    /// is right.
    async fn accuse(&self, found: Agreement, why: &'static str, patience: Duration) {
        let members = match found {
            Agreement::Whole => return,
            Agreement::Odd(members) => members,
            Agreement::Split => vec![0],
        };
        for member in members {
            let alarm = Alarm {
                kind: AlarmKind::Corrupt,
                member,
            };
            if let Err(error) = self.raise(alarm, why, Instant::now() + patience).await {
                // It is found again next time.
                tracing::error!(member = %HexId(member), why, %error, "alarm CORRUPT not raised");
            }
        }
    }
}

/// Compares what members marked at the same places of the log.
fn judge_marks(heard: &[(NodeId, Vec<Mark>)], voters: &BTreeSet<NodeId>) -> Agreement {
    let mut places: BTreeMap<Position, BTreeMap<NodeId, u64>> = BTreeMap::new();
    for (id, marks) in heard {
        for mark in marks {
            places.entry(mark.at).or_default().insert(*id, mark.hash);
        }
    }
    // The newest first. Where few have a mark in common nobody may be named; elsewhere perhaps.
    let mut judged = Agreement::Whole;
    for hashes in places.values().rev() {
        match agreement(hashes, voters) {
            Agreement::Whole => {}
            Agreement::Split => judged = Agreement::Split,
            odd @ Agreement::Odd(_) => return odd,
        }
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(hashes: &[(u64, u64)]) -> Vec<Mark> {
        let mark = |(index, hash): &(u64, u64)| Mark {
            at: Position {
                term: 1,
                index: *index,
            },
            hash: *hash,
        };
        hashes.iter().map(mark).collect()
    }

    #[test]
    fn what_is_unclear_has_a_while_to_become_clear() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut doubt = Doubt::default();
        let odd = || Agreement::Odd(vec![3]);
        assert_eq!(doubt.settle(odd(), start), odd());
        assert_eq!(doubt.settle(Agreement::Split, start), Agreement::Whole);
        assert_eq!(doubt.settle(Agreement::Split, after(9)), Agreement::Whole);
        assert_eq!(doubt.settle(odd(), after(10)), odd());
        assert_eq!(doubt.settle(Agreement::Split, after(11)), Agreement::Whole);
        assert_eq!(doubt.settle(Agreement::Split, after(21)), Agreement::Split);
    }

    #[test]
    fn marks_are_compared_where_members_have_them_in_common() {
        let heard = |third: &[(u64, u64)]| {
            let heard = [
                (1, marks(&[(64, 5), (128, 6), (150, 7)])),
                (2, marks(&[(64, 5), (128, 6), (140, 9)])),
                (3, marks(third)),
            ];
            judge_marks(&heard, &(1..=3).collect())
        };
        assert_eq!(heard(&[]), Agreement::Whole);
        assert_eq!(heard(&[(64, 5), (128, 6), (151, 8)]), Agreement::Whole);
        assert_eq!(heard(&[(128, 8)]), Agreement::Odd(vec![3]));
        // At 150 only two can be compared; at 128 it is clear who is wrong.
        assert_eq!(heard(&[(128, 8), (150, 8)]), Agreement::Odd(vec![3]));
        assert_eq!(heard(&[(150, 8)]), Agreement::Split);
    }
}
