//! Makes the networks that openraft asks for, one per peer and purpose.

use super::contacts::Contacts;
use super::links::Links;
use super::network::{NetworkTimes, PeerNetwork};
use super::receipts::Receipts;
use super::renewal::Renewal;
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
    contacts: Contacts,
    receipts: Receipts,
    renewal: Renewal,
}

impl PeerNetworks {
    pub(super) fn new(
        links: Links,
        times: NetworkTimes,
        kicks: Kicks,
        contacts: Contacts,
        renewal: Renewal,
    ) -> Self {
        Self {
            links,
            times,
            kicks,
            contacts,
            receipts: Receipts::default(),
            renewal,
        }
    }

    fn network(&self, target: NodeId, member: &MemberNode, heartbeat: bool) -> PeerNetwork {
        PeerNetwork {
            node: target,
            member: member.clone(),
            links: self.links.clone(),
            meter: self.links.meters().of(target),
            times: self.times,
            heartbeat,
            kick: self.kicks.bell(target),
            contacts: self.contacts.clone(),
            receipt: self.receipts.of(target),
            renewal: self.renewal.clone(),
            renewed: false,
        }
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
