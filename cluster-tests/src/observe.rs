//! What a member says of itself, for judges: Quorate's inspect call, or etcd's status.
//!
//! The judges run on a real etcd too; that is how they are known to be right.

use crate::cluster::program::Program;
use crate::door::Door;
use anyhow::{Context, Result, bail};
use quorate::proto::etcdserverpb::HashKvRequest;
use quorate::proto::peer::peer_client::PeerClient;
use quorate::proto::peer::{InspectRequest, InspectResponse};
use std::fmt;
use std::time::Duration;
use tonic::transport::Endpoint;

/// How long a member may take to speak of itself; a hash is a scan.
const PATIENCE: Duration = Duration::from_secs(10);

/// One member at one moment.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    pub member_id: u64,
    pub term: u64,
    /// The leader it names; 0 for none.
    pub leader: u64,
    pub role: String,
    /// Members that vote, where the member tells.
    pub voters: Vec<u64>,
    pub last_log_index: u64,
    pub applied_index: u64,
    pub purged_index: u64,
    pub revision: i64,
    /// Fsyncs of its log since it started; 0 where it does not say (etcd's are in its metrics).
    pub log_fsyncs: u64,
    pub snapshots_installed: u64,
    pub fingerprint: Option<Fingerprint>,
}

/// The state at a position: equal positions must have equal hashes.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Applied log index (Quorate), or revision (etcd).
    pub at: u64,
    pub hash: Vec<u8>,
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.hash.iter().take(8) {
            write!(formatter, "{byte:02x}")?;
        }
        write!(formatter, "@{}", self.at)
    }
}

impl Observation {
    pub fn is_leader(&self) -> bool {
        self.leader != 0 && self.leader == self.member_id
    }
}

/// Asks a member. Its hash costs a scan.
///
/// # Errors
/// It does not answer.
pub async fn observe(
    program: Program,
    peer_url: &str,
    client_url: &str,
    with_hash: bool,
) -> Result<Observation> {
    match program {
        Program::Quorate => Ok(from_inspect(inspect(peer_url, with_hash).await?)),
        Program::Etcd => from_status(client_url, with_hash).await,
    }
}

/// Quorate's own call on the peer port.
///
/// # Errors
/// The member does not answer.
pub async fn inspect(peer_url: &str, with_hash: bool) -> Result<InspectResponse> {
    let channel = Endpoint::from_shared(peer_url.to_owned())
        .context("endpoint")?
        .connect_timeout(Duration::from_secs(1))
        .timeout(PATIENCE)
        .connect()
        .await
        .with_context(|| format!("dial {peer_url}"))?;
    let request = InspectRequest { with_hash };
    Ok(PeerClient::new(channel)
        .inspect(request)
        .await
        .context("inspect")?
        .into_inner())
}

fn from_inspect(answer: InspectResponse) -> Observation {
    let index = |position: Option<quorate::proto::peer::Position>| position.map_or(0, |p| p.index);
    let fingerprint = answer.hashed_at.map(|at| Fingerprint {
        at: at.index,
        hash: answer.state_hash.to_vec(),
    });
    Observation {
        member_id: answer.member_id,
        term: answer.term,
        leader: answer.leader,
        role: answer.role,
        voters: answer.voters,
        last_log_index: index(answer.last_log),
        applied_index: index(answer.applied),
        purged_index: index(answer.purged),
        revision: answer.revision,
        log_fsyncs: answer.log_fsyncs,
        snapshots_installed: answer.snapshots_installed,
        fingerprint,
    }
}

async fn from_status(client_url: &str, with_hash: bool) -> Result<Observation> {
    let mut door = Door::open(client_url, PATIENCE)?;
    let status = door.status().await.context("status")?;
    let Some(header) = status.header.as_ref() else {
        bail!("a status without a header");
    };
    let fingerprint = if with_hash {
        let answer = door
            .maintenance
            .hash_kv(HashKvRequest { revision: 0 })
            .await;
        let answer = answer.context("hash")?.into_inner();
        let at = answer.header.as_ref().map_or(0, |header| header.revision);
        let at = u64::try_from(at).context("a negative revision")?;
        Some(Fingerprint {
            at,
            hash: answer.hash.to_be_bytes().to_vec(),
        })
    } else {
        None
    };
    let leads = status.leader == header.member_id;
    Ok(Observation {
        member_id: header.member_id,
        term: status.raft_term,
        leader: status.leader,
        role: if leads { "leader" } else { "follower" }.to_owned(),
        last_log_index: status.raft_index,
        applied_index: status.raft_applied_index,
        revision: header.revision,
        fingerprint,
        ..Observation::default()
    })
}
