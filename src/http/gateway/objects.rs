//! A stream of requests: one JSON object after the other, with or without space between.

use bytes::{Bytes, BytesMut};

/// Cuts objects out of a body that comes in pieces. Each byte is looked at once.
pub(super) struct Objects {
    /// From the beginning of an object on.
    held: BytesMut,
    scanned: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
    bytes_max: usize,
}

/// Why no object comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoObject {
    #[error("invalid character {:?} looking for beginning of object", char::from(*.0))]
    Begins(u8),
    #[error("quorate: a request of more than {0} bytes")]
    TooLong(usize),
}

impl Objects {
    /// No object may be longer.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            held: BytesMut::new(),
            scanned: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            bytes_max,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole object, if it is here.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, NoObject> {
        while let Some(&byte) = self.held.get(self.scanned) {
            self.scanned += 1;
            if self.scanned > self.bytes_max {
                return Err(NoObject::TooLong(self.bytes_max));
            }
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' if self.depth > 0 => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' => self.depth += 1,
                b'}' if self.depth == 1 => {
                    self.depth = 0;
                    let object = self.held.split_to(self.scanned).freeze();
                    self.scanned = 0;
                    return Ok(Some(object));
                }
                b'}' if self.depth > 1 => self.depth -= 1,
                _ if self.depth > 0 => {}
                b' ' | b'\t' | b'\r' | b'\n' => {}
                other => return Err(NoObject::Begins(other)),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_however_they_are_cut() {
        let text = br#" {"a":"}\"{\\"}{}
            {"b":{"c":[{}]}} "#;
        let expected = [
            r#" {"a":"}\"{\\"}"#,
            "{}",
            "\n            {\"b\":{\"c\":[{}]}}",
        ];
        for piece in 1..text.len() {
            let (mut objects, mut found) = (Objects::new(1000), Vec::new());
            for piece in text.chunks(piece) {
                objects.feed(piece);
                while let Some(object) = objects.next().unwrap() {
                    found.push(object);
                }
            }
            assert_eq!(found, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_begins_no_object_or_never_ends_is_refused() {
        let mut objects = Objects::new(8);
        objects.feed(b"{} [");
        assert_eq!(objects.next().unwrap().unwrap(), "{}");
        assert_eq!(objects.next(), Err(NoObject::Begins(b'[')));
        let mut objects = Objects::new(8);
        objects.feed(b"{\"a\":\"bcdefghi");
        assert_eq!(objects.next(), Err(NoObject::TooLong(8)));
    }
}
