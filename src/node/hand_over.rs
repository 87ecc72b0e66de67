//! Giving up leadership in an orderly way.

use super::housekeeping::successor;
use crate::raft::{Consensus, LeaderHint, Role};
use crate::types::HexId;
use tokio::time::Instant;

/// A leader asks the most advanced voter to take over, and waits two election timeouts for it at
/// most. openraft's transfer may fail without a word, so it asks again and again.
pub(super) async fn hand_over(consensus: &Consensus) {
    let patience = consensus.timers().election * 2;
    let until = Instant::now() + patience;
    let mut leaders = consensus.leader_watch();
    let mut asked = false;
    while Instant::now() < until {
        let status = consensus.status();
        if status.role != Role::Leader || matches!(leaders.hint(), LeaderHint::Other(..)) {
            if asked && matches!(leaders.hint(), LeaderHint::Nobody) {
                // Somebody stands for election: wait for its outcome.
                leaders.changed(patience / 10).await;
                continue;
            }
            return;
        }
        let Some(to) = successor(&status) else { return };
        if !std::mem::replace(&mut asked, true) {
            tracing::info!(to = %HexId(to), "handing over leadership");
        }
        if let Err(error) = consensus.transfer_leadership(to).await {
            tracing::warn!(%error, "leadership not handed over");
            return;
        }
        leaders.changed(patience / 10).await;
    }
    tracing::warn!("leadership was not taken over in time");
}
