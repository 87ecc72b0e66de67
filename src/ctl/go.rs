//! What etcdctl's output owes to Go: quoting, durations, sizes, numbers.

pub(super) use crate::config::parse_duration;

use std::ffi::OsString;
use std::iter::Peekable;
use std::os::unix::ffi::OsStringExt;
use std::str::Chars;
use std::time::Duration;

/// Go's `%q`: the bytes in double quotes; what is no text or cannot be printed is escaped.
pub(super) fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_quoted(&mut text, character);
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text.push('"');
    text
}

fn push_quoted(text: &mut String, character: char) {
    match character {
        '"' | '\\' => text.extend(['\\', character]),
        '\u{7}' => text.push_str("\\a"),
        '\u{8}' => text.push_str("\\b"),
        '\u{c}' => text.push_str("\\f"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\u{b}' => text.push_str("\\v"),
        ' '..='~' => text.push(character),
        '\0'..='\u{7f}' => text.push_str(&format!("\\x{:02x}", u32::from(character))),
        _ if !is_print(character) => {
            let code = u32::from(character);
            let escaped = if code < 0x10000 {
                format!("\\u{code:04x}")
            } else {
                format!("\\U{code:08x}")
            };
            text.push_str(&escaped);
        }
        _ => text.push(character),
    }
}

/// Letters, marks, numbers, punctuation, symbols; of the spaces only ASCII's.
fn is_print(character: char) -> bool {
    !character.is_whitespace() && character.escape_debug().next() != Some('\\')
        || is_mark(character)
}

/// `escape_debug` escapes combining marks, which Go prints.
fn is_mark(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{fe00}'..='\u{fe0f}')
}

/// Reads one Go string literal, `"…"` with escapes or `` `…` `` without, from the front.
/// `None` if there is none.
pub(super) fn unquote(characters: &mut Peekable<Chars<'_>>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut utf8 = [0; 4];
    match characters.next()? {
        '`' => loop {
            match characters.next()? {
                '`' => return Some(bytes),
                other => bytes.extend_from_slice(other.encode_utf8(&mut utf8).as_bytes()),
            }
        },
        '"' => loop {
            match characters.next()? {
                '"' => return Some(bytes),
                '\n' => return None,
                '\\' => push_escape(&mut bytes, characters)?,
                other => bytes.extend_from_slice(other.encode_utf8(&mut utf8).as_bytes()),
            }
        },
        _ => None,
    }
}

fn push_escape(bytes: &mut Vec<u8>, characters: &mut Peekable<Chars<'_>>) -> Option<()> {
    let mut utf8 = [0; 4];
    let escape = characters.next()?;
    let mut digits = |first: Option<char>, count: usize, radix: u32| {
        let mut value = first.map_or(Some(0), |digit| digit.to_digit(radix))?;
        for _ in 0..count {
            value = value.checked_mul(radix)? + characters.next()?.to_digit(radix)?;
        }
        Some(value)
    };
    match escape {
        'a' => bytes.push(7),
        'b' => bytes.push(8),
        'f' => bytes.push(12),
        'n' => bytes.push(b'\n'),
        'r' => bytes.push(b'\r'),
        't' => bytes.push(b'\t'),
        'v' => bytes.push(11),
        '\\' => bytes.push(b'\\'),
        '"' => bytes.push(b'"'),
        'x' => bytes.push(u8::try_from(digits(None, 2, 16)?).ok()?),
        '0'..='7' => bytes.push(u8::try_from(digits(Some(escape), 2, 8)?).ok()?),
        'u' | 'U' => {
            let code = digits(None, if escape == 'u' { 4 } else { 8 }, 16)?;
            let character = char::from_u32(code)?;
            bytes.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
        }
        _ => return None,
    }
    Some(())
}

/// Go's `Duration.String` below an hour: `1.909156ms`, `1.0009262s`, `1m30s`.
pub(super) fn duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let fraction = |unit: u128, digits: usize| {
        let (whole, part) = (nanos / unit, nanos % unit);
        let part = format!("{part:0digits$}");
        let part = part.trim_end_matches('0');
        if part.is_empty() {
            whole.to_string()
        } else {
            format!("{whole}.{part}")
        }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(1_000, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(1_000_000, 6)),
        1_000_000_000..60_000_000_000 => format!("{}s", fraction(1_000_000_000, 9)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let rest = Duration::from_nanos(u64::try_from(nanos % 60_000_000_000).unwrap_or(0));
            let seconds = if rest.is_zero() {
                "0s".to_owned()
            } else {
                self::duration(rest)
            };
            format!("{minutes}m{seconds}")
        }
    }
}

/// go-humanize's `Bytes`: thousands, one decimal below ten.
pub(super) fn size(bytes: i64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let bytes = u64::try_from(bytes).unwrap_or(0);
    let mut unit = 0;
    let mut scale: u64 = 1;
    while unit + 1 < UNITS.len() && bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    // Rounded half up to a tenth.
    let tenths = (u128::from(bytes) * 10 + u128::from(scale) / 2) / u128::from(scale);
    if unit == 0 {
        format!("{bytes} B")
    } else if tenths < 100 {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        // Go prints the tenth away with its own rounding: half to even.
        let (whole, tenth) = (tenths / 10, tenths % 10);
        let up = tenth > 5 || (tenth == 5 && whole % 2 == 1);
        format!("{} {}", whole + u128::from(up), UNITS[unit])
    }
}

/// `strconv.ParseBool` and its words.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {}: invalid syntax",
            quote(text.as_bytes())
        )),
    }
}

/// [`parse_int`] of a decimal number.
pub(super) fn parse_decimal(text: &str) -> Result<i64, String> {
    parse_int(text, 10)
}

/// `strconv.ParseInt` and its words.
pub(super) fn parse_int(text: &str, radix: u32) -> Result<i64, String> {
    i64::from_str_radix(text, radix).map_err(|error| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                "value out of range"
            }
            _ => "invalid syntax",
        };
        format!(
            "strconv.ParseInt: parsing {}: {why}",
            quote(text.as_bytes())
        )
    })
}

/// `strconv.ParseUint` of a hexadecimal number, and its words.
pub(super) fn parse_hexadecimal(text: &str) -> Result<u64, String> {
    // Rust would take a sign.
    let digits = if text.starts_with('+') { "" } else { text };
    u64::from_str_radix(digits, 16).map_err(|error| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!(
            "strconv.ParseUint: parsing {}: {why}",
            quote(text.as_bytes())
        )
    })
}

/// An operating system's error in Go's words: `no such file or directory`.
pub(super) fn system_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(characters).collect()
    })
}

/// The words of a line, those with blanks in quotes: `"…"` with Go's escapes, `'…'` as it stands.
/// `None` if a quote does not end.
pub(super) fn words(line: &str) -> Option<Vec<OsString>> {
    let mut words = Vec::new();
    let mut characters = line.chars().peekable();
    while let Some(&first) = characters.peek() {
        if first.is_whitespace() {
            characters.next();
        } else if first == '"' {
            words.push(OsString::from_vec(unquote(&mut characters)?));
        } else if first == '\'' {
            characters.next();
            let mut word = String::new();
            loop {
                match characters.next()? {
                    '\'' => break,
                    character => word.push(character),
                }
            }
            words.push(word.into());
        } else {
            let mut word = String::new();
            while let Some(character) = characters.next_if(|character| !character.is_whitespace()) {
                word.push(character);
            }
            words.push(word.into());
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_gos() {
        assert_eq!(
            quote(b"line\nbin\x01\xff\"q\\"),
            r#""line\nbin\x01\xff\"q\\""#
        );
        assert_eq!(
            quote("é日\u{a0}\u{200b}\u{1f600}".as_bytes()),
            "\"é日\\u00a0\\u200b😀\""
        );
        assert_eq!(quote(b"\x7f\0"), r#""\x7f\x00""#);
        for bytes in [&b"a\"b\\\n\t\x00\xfe"[..], "é日😀".as_bytes(), b""] {
            let quoted = quote(bytes);
            assert_eq!(
                unquote(&mut quoted.chars().peekable()).as_deref(),
                Some(bytes)
            );
        }
        assert_eq!(unquote(&mut "\"open".chars().peekable()), None);
        assert_eq!(
            unquote(&mut r#""\101\u00e9""#.chars().peekable()),
            Some("Aé".into())
        );
    }

    #[test]
    fn durations_are_gos() {
        let text = |nanos| duration(Duration::from_nanos(nanos));
        assert_eq!(text(1_909_156), "1.909156ms");
        assert_eq!(text(1_000_926_200), "1.0009262s");
        assert_eq!(text(850), "850ns");
        assert_eq!(text(1_500), "1.5µs");
        assert_eq!(text(90_000_000_000), "1m30s");
    }

    #[test]
    fn sizes_are_humane() {
        assert_eq!(size(20480), "20 kB");
        assert_eq!(size(25_000), "25 kB");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_234_567), "1.2 MB");
        assert_eq!(size(0), "0 B");
        assert_eq!(size(82_854_982), "83 MB");
    }

    #[test]
    fn numbers_fail_in_gos_words() {
        assert_eq!(parse_int("-7", 10), Ok(-7));
        assert_eq!(
            parse_int("zz", 16).unwrap_err(),
            "strconv.ParseInt: parsing \"zz\": invalid syntax"
        );
        assert_eq!(parse_hexadecimal("ff"), Ok(255));
        assert_eq!(
            parse_hexadecimal("-1").unwrap_err(),
            "strconv.ParseUint: parsing \"-1\": invalid syntax"
        );
        assert!(parse_hexadecimal("+1").is_err());
        assert_eq!(
            parse_int("99999999999999999999", 10).unwrap_err(),
            "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"
        );
    }
}
