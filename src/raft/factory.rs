//! Makes the networks that openraft asks for, one per peer and purpose.

use super::links::Links;
use super::network::{NetworkTimes, PeerNetwork};
use super::type_config::{MemberNode, TypeConfig};
use crate::types::NodeId;
use openraft::RaftNetworkFactory;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// One bell per peer: ringing it ends the stream of entries to it.
#[derive(Clone, Default)]
pub(super) struct Kicks {
    bells: Arc<Mutex<HashMap<NodeId, Arc<Notify>>>>,
}

impl Kicks {
    fn bell(&self, node: NodeId) -> Arc<Notify> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.entry(node).or_default().clone()
    }

    pub(super) fn kick(&self, node: NodeId) {
        // `notify_waiters` and not `notify_one`: a bell rung while no stream is open is forgotten.
        self.bell(node).notify_waiters();
    }
}

pub(super) struct PeerNetworks {
    links: Links,
    times: NetworkTimes,
    kicks: Kicks,
}

impl PeerNetworks {
    pub(super) fn new(links: Links, times: NetworkTimes, kicks: Kicks) -> Self {
        Self {
            links,
            times,
            kicks,
        }
    }

    fn network(&self, target: NodeId, member: &MemberNode, heartbeat: bool) -> PeerNetwork {
        let links = self
            .links
            .to(target, member)
            .map_err(|error| error.to_string());
        PeerNetwork::new(
            target,
            links,
            self.links.meters().of(target),
            self.times,
            heartbeat,
            self.kicks.bell(target),
        )
    }
}

impl RaftNetworkFactory<TypeConfig> for PeerNetworks {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: NodeId, member: &MemberNode) -> PeerNetwork {
        self.network(target, member, false)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, member: &MemberNode) -> PeerNetwork {
        self.network(target, member, true)
    }
}
