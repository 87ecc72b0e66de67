//! What a member says of itself, for judges: Quorate's inspect call, or any etcd's status.
//!
//! The judges run on a real etcd too; that is how they are known to be right.

use crate::dial;
use crate::door::Door;
use anyhow::{Context, Result};
use quorate::proto::etcdserverpb::{HashKvRequest, StatusResponse};
use quorate::proto::peer::peer_client::PeerClient;
use quorate::proto::peer::{InspectRequest, InspectResponse, Position};
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

/// How long a member may take to speak of itself; a hash is a scan.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// For those who look often: who does not answer within this time stands still.
pub const GLANCE: Duration = Duration::from_millis(250);

/// One member at one moment.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    pub member_id: u64,
    pub term: u64,
    /// That term is the newest entry's that it has applied, and its own may be higher: etcd tells no
    /// other (`EtcdServer.setTerm`).
    pub term_lags: bool,
    /// The leader it names; 0 for none.
    pub leader: u64,
    pub role: String,
    /// Whether it has no vote.
    pub learner: bool,
    /// Members that vote, where the member tells.
    pub voters: Vec<u64>,
    /// etcd does not tell what is not committed: as `committed_index`.
    pub last_log_index: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    /// Of the last snapshot; 0 where it does not say, as the next.
    pub snapshot_index: u64,
    pub purged_index: u64,
    pub revision: i64,
    /// Bytes; 0 where it does not say.
    pub db_size: u64,
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

/// Looks at one member again and again, over connections that stay.
#[derive(Debug)]
pub struct Observer {
    inspect: Option<PeerClient<Channel>>,
    door: Door,
}

impl Observer {
    /// Dials when first used, and again after every loss of a connection. `inspected_at`: where a
    /// Quorate listens for peers; without, the member is asked what any etcd is.
    ///
    /// # Errors
    /// A URL is not one.
    pub fn new(client_url: &str, inspected_at: Option<&str>) -> Result<Self> {
        let inspect = match inspected_at {
            None => None,
            Some(url) => {
                let endpoint = Endpoint::from_shared(url.to_owned()).context("endpoint")?;
                let endpoint = endpoint.connect_timeout(Duration::from_secs(1));
                Some(PeerClient::new(dial::lazily(&endpoint)))
            }
        };
        Ok(Self {
            inspect,
            door: Door::open(client_url, PATIENCE)?,
        })
    }

    /// What the member says of itself. Its hash costs a scan.
    ///
    /// # Errors
    /// It does not answer within `limit`.
    pub async fn look(&mut self, with_hash: bool, limit: Duration) -> Result<Observation> {
        let answer = match &mut self.inspect {
            Some(inspect) => timeout(limit, from_inspect(inspect, &mut self.door, with_hash)).await,
            None => timeout(limit, from_status(&mut self.door, with_hash)).await,
        };
        answer.with_context(|| format!("no answer within {limit:?}"))?
    }
}

async fn from_inspect(
    inspect: &mut PeerClient<Channel>,
    door: &mut Door,
    with_hash: bool,
) -> Result<Observation> {
    let index = |position: Option<Position>| position.map_or(0, |position| position.index);
    let (answer, status) =
        tokio::join!(inspect.inspect(InspectRequest { with_hash }), door.status(),);
    let answer: InspectResponse = answer.context("inspect")?.into_inner();
    let fingerprint = answer.hashed_at.map(|at| Fingerprint {
        at: at.index,
        hash: answer.state_hash.to_vec(),
    });
    Ok(Observation {
        member_id: answer.member_id,
        term: answer.term,
        term_lags: false,
        leader: answer.leader,
        role: answer.role,
        learner: answer.learners.contains(&answer.member_id),
        voters: answer.voters,
        last_log_index: index(answer.last_log),
        committed_index: index(answer.committed),
        applied_index: index(answer.applied),
        snapshot_index: index(answer.snapshot),
        purged_index: index(answer.purged),
        revision: answer.revision,
        // The peers' port may answer before the clients' does.
        db_size: status.map_or(0, |status| db_size(&status)),
        log_fsyncs: answer.log_fsyncs,
        snapshots_installed: answer.snapshots_installed,
        fingerprint,
    })
}

async fn from_status(door: &mut Door, with_hash: bool) -> Result<Observation> {
    let status = door.status().await.context("status")?;
    let header = status.header.as_ref();
    let header = header.context("a status without a header")?;
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
    let role = match (status.leader == header.member_id, status.is_learner) {
        (true, _) => "leader",
        (false, true) => "learner",
        (false, false) => "follower",
    };
    Ok(Observation {
        member_id: header.member_id,
        term: status.raft_term,
        term_lags: true,
        leader: status.leader,
        role: role.to_owned(),
        learner: status.is_learner,
        last_log_index: status.raft_index,
        committed_index: status.raft_index,
        applied_index: status.raft_applied_index,
        revision: header.revision,
        db_size: db_size(&status),
        fingerprint,
        ..Observation::default()
    })
}

fn db_size(status: &StatusResponse) -> u64 {
    u64::try_from(status.db_size).unwrap_or(0)
}
