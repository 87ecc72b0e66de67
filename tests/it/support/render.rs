//! Replies as text.

use quorate::mvcc::hash::logical_rows;
use quorate::mvcc::{Alarm, ReadView};
use quorate::state_machine::outcome::{OperationResult, Outcome, Reply, TxnOutcome};
use quorate::types::{KeyValue, RangeResult};

pub(crate) fn text(bytes: &[u8]) -> String {
    if bytes.len() > 40 {
        return format!("({} bytes)", bytes.len());
    }
    bytes.escape_ascii().to_string()
}

fn pair(kv: &KeyValue) -> String {
    let KeyValue {
        key,
        create_revision,
        mod_revision,
        version,
        value,
        lease,
    } = kv;
    let lease = if *lease == 0 {
        String::new()
    } else {
        format!(" lease {lease:x}")
    };
    format!(
        "{}={} (create {create_revision} mod {mod_revision} version {version}{lease})",
        text(key),
        text(value)
    )
}

fn pairs(kvs: &[KeyValue]) -> String {
    kvs.iter().map(|kv| format!("\n  {}", pair(kv))).collect()
}

pub(crate) fn range(result: &RangeResult) -> String {
    let more = if result.more { " more" } else { "" };
    format!("count {}{more}{}", result.count, pairs(&result.kvs))
}

fn put(prev_kv: Option<&KeyValue>) -> String {
    prev_kv.map_or_else(|| "put".to_owned(), |kv| format!("put, was {}", pair(kv)))
}

fn delete(deleted: i64, prev_kvs: &[KeyValue]) -> String {
    format!("deleted {deleted}{}", pairs(prev_kvs))
}

fn txn(outcome: &TxnOutcome) -> String {
    let mut lines = vec![
        if outcome.succeeded {
            "succeeded"
        } else {
            "failed"
        }
        .to_owned(),
    ];
    for response in &outcome.responses {
        let result = match &response.result {
            OperationResult::Range(result) => range(result),
            OperationResult::Put { prev_kv } => put(prev_kv.as_ref()),
            OperationResult::DeleteRange { deleted, prev_kvs } => delete(*deleted, prev_kvs),
            OperationResult::Txn(nested) => txn(nested),
        };
        lines.push(format!("@{} {result}", response.revision));
    }
    lines.join("\n").replace('\n', "\n  ")
}

pub(crate) fn alarm(alarm: Alarm) -> String {
    format!("alarm {} {:x}", alarm.kind.name(), alarm.member)
}

pub(crate) fn reply(reply: &Reply) -> String {
    let result = match &reply.result {
        Ok(Outcome::Put { prev_kv }) => put(prev_kv.as_ref()),
        Ok(Outcome::DeleteRange { deleted, prev_kvs }) => delete(*deleted, prev_kvs),
        Ok(Outcome::Txn(outcome)) => txn(outcome),
        Ok(Outcome::Compacted) => "compacted".to_owned(),
        Ok(Outcome::Published) => "published".to_owned(),
        Ok(Outcome::LeaseGranted) => "granted".to_owned(),
        Ok(Outcome::LeaseRevoked { whole: true }) => "revoked".to_owned(),
        Ok(Outcome::LeaseRevoked { whole: false }) => "revoked in part".to_owned(),
        Ok(Outcome::LeaseCheckpointed) => "marked".to_owned(),
        Ok(Outcome::Alarm(None)) => "no alarm".to_owned(),
        Ok(Outcome::Alarm(Some(found))) => alarm(*found),
        Ok(Outcome::DowngradeNoted) => "noted".to_owned(),
        Ok(Outcome::Claimed) => "claimed".to_owned(),
        Ok(Outcome::TooLong { bytes }) => format!("too long: {bytes} bytes"),
        Err(refusal) => format!("refused: {refusal}"),
    };
    format!("@{} {result}", reply.revision)
}

pub(crate) fn leases(view: &ReadView<'_>) -> Result<String, quorate::mvcc::Error> {
    let mut lines = Vec::new();
    for lease in view.leases()? {
        let keys = view.keys_of_lease(lease.id)?;
        let keys: Vec<_> = keys.iter().map(|key| text(key)).collect();
        lines.push(format!(
            "{} ttl {} remaining {} granted at {}: {}",
            lease.id,
            lease.ttl,
            lease.remaining,
            lease.granted_at,
            keys.join(" ")
        ));
    }
    Ok(lines.join("\n"))
}

/// Everything that the state logically is.
pub(crate) fn rows(view: &ReadView<'_>) -> Result<String, quorate::mvcc::Error> {
    let mut lines = Vec::new();
    logical_rows(view, |row| {
        // The head has its own story; the rest is user keys.
        if row[0] != b'm' {
            lines.push(format!(
                "{} {}",
                char::from(row[0]),
                row[1..].escape_ascii()
            ));
        }
    })?;
    Ok(lines.join("\n"))
}
