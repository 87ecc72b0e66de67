//! `get`, `put`, `del`, `compaction`: from options to requests.

use super::go;
use super::options::{Compaction, Del, Get, Put};
use super::print::{Answer, Format};
use super::run::{Done, Failure, Session};
use crate::client::prefix_end;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest};
use bytes::Bytes;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

const BOTH_RANGES: &str = "`--prefix` and `--from-key` cannot be set at the same time, choose one";
const TOO_MANY: &str =
    "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";
const PUT_ARGUMENTS: &str = "put command needs 1 argument and input from stdin or 2 arguments";

pub(super) async fn get(session: &Session, options: &Get) -> Result<Done, Failure> {
    let request = range_request(options)?;
    if options.count_only && session.format != Format::Fields {
        return Err(Failure::bad_arguments(
            "--count-only is only for `--write-out=fields`",
        ));
    }
    let response = session.client.range(request).await?;
    if options.print_value_only && session.format != Format::Simple {
        return Err(Failure::bad_arguments(
            "print-value-only is only for `--write-out=simple`",
        ));
    }
    session.print(&Answer::Range(response, options.print_value_only))
}

pub(super) async fn put(session: &Session, options: &Put) -> Result<Done, Failure> {
    let response = session.client.put(put_request(options)?).await?;
    session.print(&Answer::Put(response))
}

pub(super) async fn del(session: &Session, options: &Del) -> Result<Done, Failure> {
    let response = session
        .client
        .delete_range(delete_request(options)?)
        .await?;
    session.print(&Answer::Delete(response))
}

pub(super) async fn compaction(session: &Session, options: &Compaction) -> Result<Done, Failure> {
    let [revision] = options.arguments.as_slice() else {
        return Err(Failure::bad_arguments(
            "compaction command needs 1 argument",
        ));
    };
    let revision = go::parse_int(revision, 10).map_err(Failure::error)?;
    let request = CompactionRequest {
        revision,
        physical: options.physical,
    };
    session.client.compact(request).await?;
    // etcdctl says the same whatever the format.
    let stdout = format!("compacted revision {revision}\n").into_bytes();
    Ok(Done {
        stdout,
        ..Done::default()
    })
}

pub(super) fn range_request(options: &Get) -> Result<RangeRequest, Failure> {
    let Some(key) = options.arguments.first() else {
        return Err(Failure::bad_arguments(
            "get command needs one argument as key and an optional argument as range_end",
        ));
    };
    if options.prefix && options.from_key {
        return Err(Failure::bad_arguments(BOTH_RANGES));
    }
    if options.keys_only && options.count_only {
        return Err(Failure::bad_arguments(
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
        ));
    }
    let serializable = match options.consistency.as_str() {
        "s" => true,
        "l" => false,
        other => {
            let quoted = go::quote(other.as_bytes());
            return Err(Failure::bad_feature(format!(
                "unknown consistency flag {quoted}"
            )));
        }
    };
    let end = options.arguments.get(1);
    if end.is_some() && (options.prefix || options.from_key) {
        return Err(Failure::bad_arguments(TOO_MANY));
    }
    let order = match options.order.to_uppercase().as_str() {
        "" => SortOrder::None,
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        _ => {
            return Err(Failure::bad_feature(format!(
                "bad sort order {}",
                options.order
            )));
        }
    };
    let target = match options.sort_by.to_uppercase().as_str() {
        "" | "KEY" => SortTarget::Key,
        "CREATE" => SortTarget::Create,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => {
            return Err(Failure::bad_feature(format!(
                "bad sort target {}",
                options.sort_by
            )));
        }
    };
    // Ascending by key is how the server answers anyway; asking for it makes it read everything.
    let is_default = order == SortOrder::Ascend && target == SortTarget::Key;
    let order = if is_default { SortOrder::None } else { order };
    let (key, range_end) = range(key, end, options.prefix, options.from_key);
    Ok(RangeRequest {
        key,
        range_end,
        limit: options.limit,
        revision: options.rev.max(0),
        sort_order: order.into(),
        sort_target: target.into(),
        serializable,
        keys_only: options.keys_only,
        count_only: options.count_only,
        ..RangeRequest::default()
    })
}

pub(super) fn put_request(options: &Put) -> Result<PutRequest, Failure> {
    let Some(key) = options.arguments.first() else {
        return Err(Failure::bad_arguments(PUT_ARGUMENTS));
    };
    let given = options.arguments.get(1);
    let value = match given {
        Some(_) if options.ignore_value => {
            return Err(Failure::bad_arguments(
                "put command needs only 1 argument when 'ignore-value' is set",
            ));
        }
        Some(value) => bytes_of(value),
        None if options.ignore_value => Bytes::new(),
        None => from_stdin()?,
    };
    let lease = go::parse_int(&options.lease, 16).map_err(|why| {
        Failure::bad_arguments(format!("bad lease ID ({why}), expecting ID in Hex"))
    })?;
    Ok(PutRequest {
        key: bytes_of(key),
        value,
        lease,
        prev_kv: options.prev_kv,
        ignore_value: options.ignore_value,
        ignore_lease: options.ignore_lease,
    })
}

fn from_stdin() -> Result<Bytes, Failure> {
    let mut value = Vec::new();
    match std::io::stdin().read_to_end(&mut value) {
        Ok(length) if length > 0 => Ok(value.into()),
        _ => Err(Failure::bad_arguments(PUT_ARGUMENTS)),
    }
}

pub(super) fn delete_request(options: &Del) -> Result<DeleteRangeRequest, Failure> {
    let (key, end) = match options.arguments.as_slice() {
        [key] => (key, None),
        [key, end] => (key, Some(end)),
        _ => {
            return Err(Failure::bad_arguments(
                "del command needs one argument as key and an optional argument as range_end",
            ));
        }
    };
    if options.prefix && options.from_key {
        return Err(Failure::bad_arguments(BOTH_RANGES));
    }
    if end.is_some() && (options.prefix || options.from_key) {
        return Err(Failure::bad_arguments(TOO_MANY));
    }
    let (key, range_end) = range(key, end, options.prefix, options.from_key);
    Ok(DeleteRangeRequest {
        key,
        range_end,
        prev_kv: options.prev_kv,
    })
}

/// A word of the command line as it stands: it need not be text.
pub(super) fn bytes_of(word: &OsStr) -> Bytes {
    Bytes::copy_from_slice(word.as_bytes())
}

/// The key and the end of a range; nothing as a prefix, or to start from, is everything.
pub(super) fn range(
    key: &OsStr,
    end: Option<&OsString>,
    prefix: bool,
    from_key: bool,
) -> (Bytes, Bytes) {
    const ZERO: Bytes = Bytes::from_static(b"\0");
    let key = bytes_of(key);
    match (prefix, from_key) {
        (false, false) => (key, end.map_or_else(Bytes::new, |end| bytes_of(end))),
        _ if key.is_empty() => (ZERO, ZERO),
        (true, _) => {
            let end = prefix_end(&key);
            (key, end)
        }
        (false, true) => (key, ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_as_a_prefix_is_everything() {
        let all = (Bytes::from("\0"), Bytes::from("\0"));
        let word = OsStr::new;
        assert_eq!(range(word(""), None, true, false), all);
        assert_eq!(range(word(""), None, false, true), all);
        let from_k = ("k".into(), "\0".into());
        assert_eq!(range(word("k"), None, false, true), from_k);
        let end = OsString::from("m");
        assert_eq!(
            range(word("k"), Some(&end), false, false),
            ("k".into(), "m".into())
        );
    }
}
