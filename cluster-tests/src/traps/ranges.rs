//! Traps of Range.

use super::ground::{Ground, compact, delete, put, range, refused, revision};
use anyhow::{Result, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate::proto::etcdserverpb::{RangeRequest, RangeResponse};
use tonic::Code;

fn keys(answer: &RangeResponse) -> Vec<&[u8]> {
    answer.kvs.iter().map(|kv| kv.key.as_ref()).collect()
}

pub(super) async fn count_ignores_limit_and_filters_and_more_does_not(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(1)?;
    let mut revisions = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        let answer = put(&mut door, ground.key(name), "x").await?;
        revisions.push(answer.header.map_or(0, |header| header.revision));
    }
    let limited = RangeRequest {
        limit: 2,
        ..ground.all()
    };
    let answer = range(&mut door, limited.clone()).await?;
    ensure!(
        answer.kvs.len() == 2 && answer.more && answer.count == 5,
        "{answer:?}"
    );
    let filtered = RangeRequest {
        min_mod_revision: revisions.get(3).copied().unwrap_or_default(),
        ..limited
    };
    let answer = range(&mut door, filtered).await?;
    // Two are left by the filter, and both are shown.
    ensure!(
        answer.kvs.len() == 2 && !answer.more && answer.count == 5,
        "{answer:?}"
    );
    Ok(())
}

pub(super) async fn a_limit_meets_sorting_and_counting(ground: &mut Ground) -> Result<()> {
    let mut door = ground.door(2)?;
    for (name, value) in [("a", "3"), ("b", "2"), ("c", "1")] {
        put(&mut door, ground.key(name), value).await?;
    }
    let mut sorted = RangeRequest {
        limit: 1,
        ..ground.all()
    };
    sorted.set_sort_target(SortTarget::Value);
    sorted.set_sort_order(SortOrder::Ascend);
    // Everything is sorted, then cut.
    let answer = range(&mut door, sorted.clone()).await?;
    ensure!(
        keys(&answer) == [ground.key("c").as_ref()] && answer.more,
        "{answer:?}"
    );
    // Without an order only the first two by key are sorted.
    sorted.set_sort_order(SortOrder::None);
    let answer = range(&mut door, sorted).await?;
    ensure!(
        keys(&answer) == [ground.key("b").as_ref()] && answer.more,
        "{answer:?}"
    );
    let negative = RangeRequest {
        limit: -1,
        ..ground.all()
    };
    let answer = range(&mut door, negative).await?;
    ensure!(answer.kvs.len() == 3 && !answer.more, "{answer:?}");
    let counted = RangeRequest {
        limit: 1,
        count_only: true,
        ..ground.all()
    };
    let answer = range(&mut door, counted).await?;
    ensure!(
        answer.kvs.is_empty() && !answer.more && answer.count == 3,
        "{answer:?}"
    );
    Ok(())
}

pub(super) async fn range_ends_that_are_zero_or_before_the_key(ground: &mut Ground) -> Result<()> {
    let mut door = ground.door(3)?;
    let zero = Bytes::from_static(&[0]);
    for key in [zero.clone(), ground.key("a"), ground.key("b")] {
        put(&mut door, key, "x").await?;
    }
    let asked = |key: &Bytes, range_end: &Bytes| RangeRequest {
        key: key.clone(),
        range_end: range_end.clone(),
        keys_only: true,
        ..RangeRequest::default()
    };
    let from = range(&mut door, asked(&ground.key("b"), &zero)).await?;
    let first = keys(&from).first().map(|key| key.to_vec());
    ensure!(first == Some(ground.key("b").to_vec()), "{from:?}");
    let everything = range(&mut door, asked(&zero, &zero)).await?;
    ensure!(
        keys(&everything).first() == Some(&[0].as_slice()),
        "{everything:?}"
    );
    ensure!(
        keys(&everything).contains(&ground.key("a").as_ref()),
        "{everything:?}"
    );
    let alone = range(&mut door, asked(&zero, &Bytes::new())).await?;
    ensure!(keys(&alone) == [[0].as_slice()], "{alone:?}");
    for end in ["a", "b"] {
        let backwards = range(&mut door, asked(&ground.key("b"), &ground.key(end))).await?;
        ensure!(
            backwards.kvs.is_empty() && backwards.count == 0,
            "{backwards:?}"
        );
    }
    let nameless = range(&mut door, asked(&Bytes::new(), &zero)).await;
    refused(
        nameless,
        Code::InvalidArgument,
        "etcdserver: key is not provided",
    )?;
    delete(&mut door, zero, Bytes::new()).await?;
    Ok(())
}

pub(super) async fn the_compacted_revision_is_readable_and_the_next_one_is_the_future(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(1)?;
    put(&mut door, ground.key("a"), "old").await?;
    put(&mut door, ground.key("a"), "new").await?;
    let now = revision(&mut door).await?;
    compact(&mut door, now).await?;
    for node in 1..=3 {
        let mut door = ground.door(node)?;
        let at = |revision| RangeRequest {
            revision,
            ..ground.all()
        };
        let answer = range(&mut door, at(now)).await?;
        ensure!(
            answer.kvs.first().is_some_and(|kv| kv.value == "new"),
            "{answer:?}"
        );
        let gone = "etcdserver: mvcc: required revision has been compacted";
        refused(range(&mut door, at(now - 1)).await, Code::OutOfRange, gone)?;
        let future = "etcdserver: mvcc: required revision is a future revision";
        refused(
            range(&mut door, at(now + 1)).await,
            Code::OutOfRange,
            future,
        )?;
    }
    let gone = "etcdserver: mvcc: required revision has been compacted";
    refused(compact(&mut door, now).await, Code::OutOfRange, gone)?;
    let future = "etcdserver: mvcc: required revision is a future revision";
    refused(compact(&mut door, now + 1).await, Code::OutOfRange, future)
}
