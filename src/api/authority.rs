//! Clients that send a URL where HTTP/2 wants a host.
//!
//! `etcdctl endpoint status --endpoints=http://...` (3.4) puts the whole URL into `:authority`. Go's
//! server does not look at it; ours refuses the request before we see it. So the first request of a
//! connection is looked at on its way in. If its authority is well, as nearly always, nothing is ever
//! looked at again; if not, a host stands in for the URL, here and wherever the client spells it
//! again.
//!
//! The header compression (RFC 7541) need not be undone for it. What is replaced is one literal; that
//! both ends remember it differently is harmless, because the new one is shorter: the client forgets
//! an entry no later than we do, and nothing after it moves.

/// How every HTTP/2 connection begins.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PREFACE_BYTES: usize = PREFACE.len();
const FRAME_HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;
/// A larger frame of headers is passed on as it is (HTTP/2's own limit unless we raise it).
const HEADERS_BYTES_MAX: usize = 16_384;
/// `:authority` in the static table.
const AUTHORITY_INDEX: usize = 1;
/// What stands in for a URL, with its length in front. Shorter than any.
const HOST: &[u8] = b"\x06member";
/// What a URL begins with, plainly and in Huffman's code (41 bits and 46).
const URLS: [&[u8]; 2] = [b"http://", b"https://"];
#[allow(clippy::unusual_byte_groupings, reason = "a group is a letter")]
const URLS_CODED: [(u64, u32); 2] = [
    (0b100111_01001_01001_101011_1011100_011000_011000, 41),
    (0b100111_01001_01001_101011_01000_1011100_011000_011000, 46),
];

/// Looks at what a client sends, and hands it on with a host where it wrote a URL.
#[derive(Default)]
pub(super) struct Mender {
    /// Nothing has to be looked at any more.
    trusts: bool,
    /// Passed on of the preface.
    preface: usize,
    /// Bytes of the current frame to be passed on.
    pass: usize,
    /// The beginning of a frame.
    held: Vec<u8>,
    /// This client writes URLs.
    mends: bool,
}

impl Mender {
    /// For a client that speaks something else.
    pub(super) fn trusting() -> Self {
        Self {
            trusts: true,
            ..Self::default()
        }
    }

    /// Whether what comes may go by unseen.
    pub(super) fn trusts(&self) -> bool {
        self.trusts
    }

    /// At the end of the stream: whatever is held goes on as it is.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        self.trusts = true;
        out.append(&mut self.held);
    }

    /// Appends to `out` what may go on of what came so far.
    pub(super) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() && !self.trusts {
            if self.preface < PREFACE_BYTES {
                let passed = take(&mut bytes, PREFACE_BYTES - self.preface);
                self.preface += passed.len();
                out.extend_from_slice(passed);
            } else if self.pass > 0 {
                let passed = take(&mut bytes, self.pass);
                self.pass -= passed.len();
                out.extend_from_slice(passed);
            } else {
                self.frame(&mut bytes, out);
            }
        }
        out.extend_from_slice(bytes);
    }

    /// Goes on with the beginning of a frame.
    fn frame(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) {
        let missing = FRAME_HEADER_BYTES.saturating_sub(self.held.len());
        self.held.extend_from_slice(take(bytes, missing));
        let Some(&[a, b, c, kind, flags, ..]) = self.held.first_chunk::<FRAME_HEADER_BYTES>()
        else {
            return;
        };
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let whole = flags & (END_HEADERS | PADDED) == END_HEADERS;
        if kind != HEADERS || !whole || length > HEADERS_BYTES_MAX {
            out.append(&mut self.held);
            self.pass = length;
            return;
        }
        let end = FRAME_HEADER_BYTES + length;
        self.held
            .extend_from_slice(take(bytes, end - self.held.len()));
        if self.held.len() < end {
            return;
        }
        let fields_at = FRAME_HEADER_BYTES
            + if flags & PRIORITY == 0 {
                0
            } else {
                PRIORITY_BYTES
            };
        let fields = self.held.get(fields_at..).unwrap_or_default();
        if let Some(url) = find_url(fields) {
            self.mends = true;
            let (from, to) = (fields_at + url.start, fields_at + url.end);
            let length = length + HOST.len() - url.len();
            self.held.splice(from..to, HOST.iter().copied());
            let length = u32::try_from(length).unwrap_or(0).to_be_bytes();
            self.held.splice(0..3, length.into_iter().skip(1));
        }
        out.append(&mut self.held);
        self.trusts = !self.mends;
    }
}

fn take<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken
}

/// Where a block of header fields spells an authority that is a URL: its length and its letters.
fn find_url(fields: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut at = 0;
    while let Some(&first) = fields.get(at) {
        let (prefix, is_literal) = match first {
            0x80.. => (7, false),
            0x40..0x80 => (6, true),
            0x20..0x40 => (5, false),
            _ => (4, true),
        };
        let name = integer(fields, &mut at, prefix)?;
        if !is_literal {
            continue;
        }
        if name == 0 {
            string(fields, &mut at)?;
        }
        let value_at = at;
        let (letters, is_coded) = string(fields, &mut at)?;
        if name == AUTHORITY_INDEX && is_url(letters, is_coded) {
            return Some(value_at..at);
        }
    }
    None
}

fn is_url(letters: &[u8], is_coded: bool) -> bool {
    if !is_coded {
        return URLS.iter().any(|url| letters.starts_with(url));
    }
    let Some(first) = letters.first_chunk::<8>() else {
        return false;
    };
    let first = u64::from_be_bytes(*first);
    URLS_CODED
        .iter()
        .any(|(code, bits)| first >> (64 - bits) == *code)
}

/// An integer whose first byte has so many bits for it (RFC 7541, 5.1).
fn integer(bytes: &[u8], at: &mut usize, prefix: u32) -> Option<usize> {
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(*bytes.get(*at)?) & most;
    *at += 1;
    if value < most {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let byte = usize::from(*bytes.get(*at)?);
        *at += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A string and whether it is in Huffman's code (RFC 7541, 5.2).
fn string<'a>(bytes: &'a [u8], at: &mut usize) -> Option<(&'a [u8], bool)> {
    let is_coded = bytes.get(*at)? & 0x80 != 0;
    let length = integer(bytes, at, 7)?;
    let letters = bytes.get(*at..*at + length)?;
    *at += length;
    Some((letters, is_coded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PREFACE: &[u8] = super::PREFACE;
    /// `:method POST`, `:scheme http`, a path.
    const BEFORE: &[u8] = b"\x83\x86\x45\x02/a";
    /// `te: trailers`, a name that is spelt.
    const AFTER: &[u8] = b"\x40\x02te\x86\x4d\x83\x35\x05\xb1\x1f";
    /// `http://127.0.0.9:23791` as etcdctl 3.4 sends it.
    const URL: &[u8] = b"\x41\x90\x9d\x29\xae\xe3\x0c\x04\x4e\xae\x05\xc0\xbb\xf7\x04\xcb\xaf\x87";
    /// `127.0.0.9:23791`.
    const WELL: &[u8] = b"\x41\x8b\x08\x9d\x5c\x0b\x81\x77\xee\x09\x97\x5f\x0f";
    const STAND_IN: &[u8] = b"\x41\x06member";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn request(authority: &[u8]) -> Vec<u8> {
        frame(HEADERS, END_HEADERS, &[BEFORE, authority, AFTER].concat())
    }

    /// What comes out of a connection that comes in pieces.
    fn through(bytes: &[u8], piece: usize) -> (Vec<u8>, Mender) {
        let (mut mender, mut out) = (Mender::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            mender.feed(piece, &mut out);
        }
        (out, mender)
    }

    #[test]
    fn a_url_gives_way_to_a_host_however_it_is_spelt_and_cut() {
        let settings = frame(4, 0, b"");
        let data = frame(0, 1, &[7; 300]);
        let prioritized = |authority: &[u8]| {
            let fields = [b"\x80\0\0\0\x01".as_slice(), BEFORE, authority, AFTER].concat();
            frame(HEADERS, END_HEADERS | PRIORITY, &fields)
        };
        let plain = b"\x01\x0fhttp://a.b:2379";
        let secure = b"\x41\x10https://a.b:2379";
        let again = frame(HEADERS, END_HEADERS, b"\x83\x86\xbe");
        let parts = |first: &[u8], second: &[u8], third: &[u8]| {
            let requests = [request(first), prioritized(second), request(third)];
            [
                PREFACE,
                &settings,
                &requests[0],
                &data,
                &requests[1],
                &again,
                &requests[2],
            ]
            .concat()
        };
        let sent = parts(URL, plain, secure);
        let expected = parts(STAND_IN, b"\x01\x06member", STAND_IN);
        for piece in 1..sent.len() {
            assert_eq!(through(&sent, piece).0, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn after_a_first_request_that_is_well_nothing_is_looked_at() {
        let sent = [PREFACE, &request(WELL), &request(URL)].concat();
        for piece in 1..sent.len() {
            let (out, mender) = through(&sent, piece);
            assert_eq!(out, sent);
            assert!(mender.trusts);
        }
    }

    #[test]
    fn a_host_is_shorter_than_any_url() {
        assert!(URLS.iter().all(|url| HOST.len() - 1 < url.len()));
    }

    proptest! {
        #[test]
        fn what_is_no_request_passes_as_it_is(bytes: Vec<u8>, piece in 1_usize..64) {
            let sent = [PREFACE, &bytes].concat();
            let (mut out, mender) = through(&sent, piece);
            out.extend_from_slice(&mender.held);
            prop_assert_eq!(out, sent);
        }

        #[test]
        fn any_fields_are_read_without_a_panic(fields: Vec<u8>) {
            find_url(&fields);
        }
    }
}
