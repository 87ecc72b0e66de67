//! `txn`: reads etcdctl's little language from stdin. Comparisons, an empty line, what to do if all
//! hold, an empty line, what to do if not, an empty line:
//!
//! ```text
//! value("seat") = "free"
//! mod("seat") > "0"
//!
//! put seat "taken by me"
//!
//! get seat
//!
//! ```

use super::options::{self, Operation, Txn};
use super::print::Answer;
use super::run::{Done, Failure, Session};
use super::{go, kv};
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{Compare, RequestOp, TxnRequest};
use std::io::{BufRead, Write};

pub(super) async fn run(session: &Session, options: &Txn) -> Result<Done, Failure> {
    if !options.arguments.is_empty() {
        return Err(Failure::bad_arguments(
            "txn command does not accept argument",
        ));
    }
    let prompt = |text: &str| {
        if options.interactive {
            let mut stdout = std::io::stdout();
            stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush())
                .unwrap_or_default();
        }
    };
    let request = read(&mut std::io::stdin().lock(), prompt)?;
    let response = session.client.txn(request).await?;
    session.print(&Answer::Txn(response))
}

fn read(input: &mut impl BufRead, prompt: impl Fn(&str)) -> Result<TxnRequest, Failure> {
    prompt("compares:\n");
    let compare = section(input, parse_compare)?;
    prompt("success requests (get, put, del):\n");
    let success = section(input, parse_operation)?;
    prompt("failure requests (get, put, del):\n");
    let failure = section(input, parse_operation)?;
    Ok(TxnRequest {
        compare,
        success,
        failure,
    })
}

/// Lines up to an empty one, which must come.
fn section<T>(
    input: &mut impl BufRead,
    parse: impl Fn(&str) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut items = Vec::new();
    loop {
        let mut line = String::new();
        input
            .read_line(&mut line)
            .map_err(|error| Failure::invalid_input(error.to_string()))?;
        if !line.ends_with('\n') {
            return Err(Failure::invalid_input("EOF"));
        }
        let line = line.trim();
        if line.is_empty() {
            return Ok(items);
        }
        items.push(parse(line)?);
    }
}

/// `target("key") op "value"`.
fn parse_compare(line: &str) -> Result<Compare, Failure> {
    let malformed =
        |why: String| Failure::invalid_input(format!("malformed comparison: {line}{why}"));
    let (target, rest) = line
        .split_once('(')
        .ok_or_else(|| malformed(String::new()))?;
    let (key, operator, value) = parse_parts(rest).map_err(|(key, operator)| {
        let key = go::quote(&key);
        malformed(format!("; got {target}({key}) {operator} \"\""))
    })?;
    let result = match operator.as_str() {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        _ => return Err(malformed(format!(" (unknown result op {operator})"))),
    };
    let number = |radix| {
        std::str::from_utf8(&value)
            .ok()
            .and_then(|value| go::parse_int(value, radix).ok())
            .ok_or_else(|| Failure::invalid_input(format!("invalid txn compare request: {line}")))
    };
    let (target, union) = match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (
            CompareTarget::Create,
            TargetUnion::CreateRevision(number(10)?),
        ),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.into())),
        // Hexadecimal, as `--lease` is. (etcdctl panics here.)
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        _ => return Err(malformed(format!(" (unknown target {target})"))),
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        ..Compare::default()
    })
}

/// Key, operator, value.
type Parts = (Vec<u8>, String, Vec<u8>);

/// Go's `Sscanf("%q) %s %q")`. The error is as much as was understood.
fn parse_parts(text: &str) -> Result<Parts, (Vec<u8>, String)> {
    let mut characters = text.trim_start().chars().peekable();
    let key = go::unquote(&mut characters).ok_or_else(|| (Vec::new(), String::new()))?;
    if characters.next() != Some(')') {
        return Err((key, String::new()));
    }
    while characters
        .next_if(|character| character.is_whitespace())
        .is_some()
    {}
    let mut operator = String::new();
    while let Some(character) = characters.next_if(|character| !character.is_whitespace()) {
        operator.push(character);
    }
    while characters
        .next_if(|character| character.is_whitespace())
        .is_some()
    {}
    match go::unquote(&mut characters) {
        Some(value) => Ok((key, operator, value)),
        None => Err((key, operator)),
    }
}

/// `get`, `put` or `del` with their flags.
fn parse_operation(line: &str) -> Result<RequestOp, Failure> {
    let invalid = || Failure::invalid_input(format!("invalid txn request: {line}"));
    let words = go::words(line).ok_or_else(invalid)?;
    if words.len() < 2 {
        // etcdctl's words, although it is no comparison.
        return Err(Failure::invalid_input(format!(
            "invalid txn compare request: {line}"
        )));
    }
    let request = match options::parse(words).map_err(|_| invalid())? {
        Operation::Get(options) => Request::RequestRange(kv::range_request(&options)?),
        Operation::Put(options) => Request::RequestPut(kv::put_request(&options)?),
        Operation::Del(options) => Request::RequestDeleteRange(kv::delete_request(&options)?),
    };
    Ok(RequestOp {
        request: Some(request),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<TxnRequest, Failure> {
        read(&mut text.as_bytes(), |_| {})
    }

    #[test]
    fn a_transaction_is_read_section_by_section() {
        let text = "value(\"a\") = \"b\"\n lease(\"k\") != \"1f\" \n\nput d \"x y\"\nget a z --limit=1\n\n\
                    del 'b c' --prev-kv\n\n";
        let request = request(text).unwrap();
        assert_eq!(request.compare.len(), 2);
        assert_eq!(
            request.compare[1].target_union,
            Some(TargetUnion::Lease(0x1f))
        );
        assert_eq!(
            request.compare[1].result,
            i32::from(CompareResult::NotEqual)
        );
        let Some(Request::RequestPut(put)) = &request.success[0].request else {
            panic!()
        };
        assert_eq!((&put.key[..], &put.value[..]), (&b"d"[..], &b"x y"[..]));
        let Some(Request::RequestRange(get)) = &request.success[1].request else {
            panic!()
        };
        assert_eq!((get.limit, &get.range_end[..]), (1, &b"z"[..]));
        let Some(Request::RequestDeleteRange(del)) = &request.failure[0].request else {
            panic!()
        };
        assert_eq!((&del.key[..], del.prev_kv), (&b"b c"[..], true));
    }

    #[test]
    fn what_is_wrong_is_said_in_etcdctls_words() {
        for (text, expected) in [
            ("", "EOF"),
            ("\n\n", "EOF"),
            ("mod(\"a\") > \"0\"", "EOF"),
            ("bad\n", "malformed comparison: bad"),
            (
                "foo(\"a\") > \"0\"\n",
                "malformed comparison: foo(\"a\") > \"0\" (unknown target foo)",
            ),
            (
                "mod(a) > 0\n",
                "malformed comparison: mod(a) > 0; got mod(\"\")  \"\"",
            ),
            (
                "mod(\"a\") > \"x\"\n",
                "invalid txn compare request: mod(\"a\") > \"x\"",
            ),
            (
                "mod(\"a\") ! \"1\"\n",
                "malformed comparison: mod(\"a\") ! \"1\" (unknown result op !)",
            ),
            ("\nfoo x\n", "invalid txn request: foo x"),
            ("\nput\n", "invalid txn compare request: put"),
            ("\nget \"a\n", "invalid txn request: get \"a"),
        ] {
            let failure = request(text).unwrap_err();
            assert_eq!(
                (failure.text.as_str(), failure.code),
                (expected, 3),
                "{text:?}"
            );
        }
    }
}
