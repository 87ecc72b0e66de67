//! Traps of leases, and of the locks that are built upon them.

use super::ground::{Ground, MEMBERS, inner, put, range, refused, revision};
use super::listener::Listener;
use crate::cluster::local::PATIENCE;
use crate::wait::{Look, until};
use anyhow::{Context as _, Result, ensure};
use quorate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    PutRequest, WatchCreateRequest,
};
use quorate::proto::v3lockpb::{LockRequest, UnlockRequest};
use tonic::Code;

pub(super) async fn leases_have_a_least_time_and_unknown_ones_are_minus_one(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(1)?;
    // One and a half election timeouts of 300 ms, in whole seconds.
    for ttl in [0, -5, i64::MIN, 1] {
        let granted = inner(
            door.lease
                .lease_grant(LeaseGrantRequest { ttl, id: 0 })
                .await,
        )?;
        ensure!(
            granted.ttl == 1 && granted.id > 0,
            "{ttl} makes {granted:?}"
        );
    }
    let words = "etcdserver: too large lease TTL";
    let eternal = LeaseGrantRequest {
        ttl: 9_000_000_001,
        id: 0,
    };
    refused(
        door.lease.lease_grant(eternal).await,
        Code::OutOfRange,
        words,
    )?;
    let unknown = LeaseTimeToLiveRequest {
        id: 1601,
        keys: true,
    };
    let rest = inner(door.lease.lease_time_to_live(unknown).await)?;
    ensure!(
        rest.ttl == -1 && rest.granted_ttl == 0 && rest.id == 1601,
        "{rest:?}"
    );
    // The stream goes on after an unknown one.
    let long = LeaseGrantRequest { ttl: 600, id: 1602 };
    door.lease.lease_grant(long).await?;
    refused(
        door.lease.lease_grant(long).await,
        Code::FailedPrecondition,
        "etcdserver: lease already exists",
    )?;
    let ids = [1601, 1602].map(|id| LeaseKeepAliveRequest { id });
    let renewals = door
        .lease
        .lease_keep_alive(futures_util::stream::iter(ids))
        .await;
    let mut renewals = renewals?.into_inner();
    for ttl in [0, 600] {
        let renewed = renewals.message().await?.context("the stream ended")?;
        ensure!(renewed.ttl == ttl, "{renewed:?}");
    }
    door.lease
        .lease_revoke(LeaseRevokeRequest { id: 1602 })
        .await?;
    let gone = door
        .lease
        .lease_revoke(LeaseRevokeRequest { id: 1602 })
        .await;
    refused(
        gone,
        Code::NotFound,
        "etcdserver: requested lease not found",
    )?;
    a_new_leader_extends_leases(ground).await
}

/// A leader that is new to it gives a lease its whole time again, and never less than it had.
async fn a_new_leader_extends_leases(ground: &Ground) -> Result<()> {
    let mut cluster = ground.own(MEMBERS, &[]).await?;
    let all: Vec<usize> = cluster.nodes().collect();
    let mut door = cluster.door(1, PATIENCE)?;
    let lease = LeaseGrantRequest { ttl: 4, id: 1603 };
    door.lease.lease_grant(lease).await?;
    let rest = |door: &crate::door::Door| {
        let mut door = door.clone();
        async move {
            let request = LeaseTimeToLiveRequest {
                id: 1603,
                keys: false,
            };
            inner(door.lease.lease_time_to_live(request).await).map(|rest| rest.ttl)
        }
    };
    let leader = cluster.wait_leader(&all, PATIENCE).await?;
    let survivor = all
        .iter()
        .copied()
        .find(|node| *node != leader)
        .unwrap_or(1);
    let door = cluster.door(survivor, PATIENCE)?;
    until(
        "some of the lease's time to pass",
        PATIENCE,
        async || match rest(&door).await {
            Ok(2) => Look::Ready(()),
            other => Look::NotYet(format!("{other:?}")),
        },
    )
    .await?;
    cluster.member(leader)?.kill();
    let extended = until(
        "the new leader to know the lease",
        PATIENCE,
        async || match rest(&door).await {
            Ok(ttl) => Look::Ready(ttl),
            Err(status) => Look::NotYet(status.to_string()),
        },
    );
    let extended = extended.await?;
    ensure!(
        extended >= 1,
        "{extended} s are left after a change of leaders"
    );
    Ok(())
}

pub(super) async fn the_keys_of_an_expired_lease_go_in_one_revision_in_order(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(2)?;
    door.lease
        .lease_grant(LeaseGrantRequest { ttl: 2, id: 1701 })
        .await?;
    for name in ["c", "a", "b"] {
        let put = PutRequest {
            key: ground.key(name),
            lease: 1701,
            ..PutRequest::default()
        };
        door.kv.put(put).await?;
    }
    let now = revision(&mut door).await?;
    let create = WatchCreateRequest {
        key: ground.key(""),
        range_end: ground.end(),
        start_revision: now + 1,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    let mut listener = Listener::open(&door, create).await?;
    ensure!(listener.next().await?.created, "not created");
    let message = listener.next().await?;
    let told: Vec<_> = message
        .events
        .iter()
        .filter_map(|event| event.kv.as_ref())
        .map(|kv| (kv.key.clone(), kv.mod_revision, kv.version))
        .collect();
    let wanted = ["a", "b", "c"].map(|name| (ground.key(name), now + 1, 0));
    ensure!(told == wanted, "{message:?}");
    let before = message
        .events
        .iter()
        .filter_map(|event| event.prev_kv.as_ref());
    ensure!(
        before.filter(|kv| kv.lease == 1701).count() == 3,
        "{message:?}"
    );
    Ok(())
}

pub(super) async fn a_waiter_whose_session_ended_does_not_get_the_lock(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(3)?;
    for id in [1801, 1802] {
        door.lease
            .lease_grant(LeaseGrantRequest { ttl: 600, id })
            .await?;
    }
    let name = ground.key("lock");
    let lock = |lease| LockRequest {
        name: name.clone(),
        lease,
    };
    let held = inner(door.lock.lock(lock(1801)).await)?;
    ensure!(held.key == ground.key("lock/709"), "{held:?}");
    // Whoever holds it gets it again at once.
    door.lock.lock(lock(1801)).await?;
    let waiting = tokio::spawn({
        let (mut door, lock) = (ground.door(1)?, lock(1802));
        async move { door.lock.lock(lock).await }
    });
    until(
        "the waiter to stand in the queue",
        PATIENCE,
        async || match range(&mut door, ground.all()).await {
            Ok(answer) if answer.kvs.len() == 2 => Look::Ready(()),
            other => Look::NotYet(format!("{other:?}")),
        },
    )
    .await?;
    // Its key goes with its lease; then the lock is let go.
    door.lease
        .lease_revoke(LeaseRevokeRequest { id: 1802 })
        .await?;
    door.lock.unlock(UnlockRequest { key: held.key }).await?;
    refused(waiting.await?, Code::Unknown, "mutex: session is expired")?;
    put(&mut door, ground.key("end"), "x").await?;
    Ok(())
}
