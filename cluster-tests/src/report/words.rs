//! Numbers and answers as a reader wants them.

use crate::history::call::{Answer, Done, Found, Pair};
use crate::history::operation::{Operation, Outcome};

/// Of an answer's text: what is longer is cut, so that one list of a thousand keys does not fill a page.
const TEXT_CHARS_MAX: usize = 300;
/// Pairs of a list that are written out.
const PAIRS_MAX: usize = 6;

/// "0.61 s", "12.3 s", "640 s", of microseconds.
pub fn in_seconds(us: u64) -> String {
    let (tenths, hundredths) = ((us + 50_000) / 100_000, (us + 5_000) / 10_000);
    match us {
        0..9_995_000 => format!("{}.{:02} s", hundredths / 100, hundredths % 100),
        9_995_000..99_950_000 => format!("{}.{} s", tenths / 10, tenths % 10),
        _ => format!("{} s", (us + 500_000) / 1_000_000),
    }
}

/// "60 s", "20 min", of microseconds: how long something was, roughly.
pub fn roughly(us: u64) -> String {
    let seconds = (us + 500_000) / 1_000_000;
    if seconds < 180 {
        format!("{seconds} s")
    } else {
        format!("{} min", (seconds + 30) / 60)
    }
}

/// "12,345"
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 fault", "9 faults"
pub fn counted(number: u64, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{} {noun}", grouped(number))
}

/// Without more than its beginning.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn pairs(pairs: &[Pair]) -> String {
    let mut words: Vec<String> = pairs
        .iter()
        .take(PAIRS_MAX)
        .map(ToString::to_string)
        .collect();
    if pairs.len() > PAIRS_MAX {
        words.push(format!("and {} more", pairs.len() - PAIRS_MAX));
    }
    if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(", ")
    }
}

fn found(found: &Found) -> String {
    let mut text = pairs(&found.kvs);
    if found.more {
        text.push_str(" …");
    }
    text
}

fn done(done: &Done) -> String {
    match done {
        Done::Put {
            previous: Some(previous),
        } => format!("put, was {previous}"),
        Done::Put { previous: None } => "put, was nothing".to_owned(),
        Done::Get(answer) => found(answer),
        Done::Deleted { previous } => format!("deleted {}", pairs(previous)),
    }
}

/// What a client was told: "r/1=17 @420", "failed: …", "no answer: …".
pub fn told(operation: &Operation) -> String {
    let text = match &operation.outcome {
        Outcome::Refused(error) => format!("refused: {error}"),
        Outcome::Unknown(error) => format!("unknown: {error}"),
        Outcome::Ok { header, answer } => {
            let answer = match answer {
                Answer::Range(answer) => found(answer),
                Answer::Txn {
                    succeeded,
                    done: all,
                } => {
                    let all: Vec<String> = all.iter().map(done).collect();
                    let branch = if *succeeded { "" } else { "else: " };
                    format!("{branch}{}", all.join("; "))
                }
                Answer::Lease { id, ttl } => format!("lease {id:x} for {ttl} s"),
                Answer::Revoked => "revoked".to_owned(),
                Answer::Compacted => "compacted".to_owned(),
            };
            format!("{answer} (revision {})", header.revision)
        }
    };
    shortened(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_one_says_them() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(in_seconds(614_000), "0.61 s");
        assert_eq!(in_seconds(9_996_000), "10.0 s");
        assert_eq!(in_seconds(640_000_000), "640 s");
        assert_eq!(roughly(61_400_000), "61 s");
        assert_eq!(roughly(1_200_000_000), "20 min");
        assert_eq!(counted(1, "fault", "faults"), "1 fault");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = "ü".repeat(TEXT_CHARS_MAX + 1);
        assert_eq!(shortened(&long).chars().count(), TEXT_CHARS_MAX + 1);
        assert_eq!(shortened("short"), "short");
    }
}
