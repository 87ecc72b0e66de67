//! The bytes of every record, as `docs/data-layout.md` shows them. A change here is a new format
//! version.

use super::at;
use crate::raft::log::Vote;
use crate::raft::log::record::{Link, Record, SegmentStart, close_group, encode};
use crate::raft::log::segment::SegmentHeader;

const HEADER: SegmentHeader = SegmentHeader {
    sequence: 3,
    incarnation: 0xa2,
    bytes: 1 << 20,
};

fn hex(bytes: &[u8]) -> String {
    let words = bytes
        .chunks(4)
        .map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect());
    words.collect::<Vec<String>>().join(" ")
}

fn example(record: &Record, payload: &[u8], is_last: bool) -> String {
    let mut bytes = Vec::new();
    let link = Link {
        seed: HEADER.seed(),
        previous: 0x1122_3344,
        group: 5,
    };
    encode(&mut bytes, link, record, payload);
    if is_last {
        close_group(&mut bytes, HEADER.seed());
    }
    hex(&bytes)
}

#[test]
fn the_bytes_on_disk_are_the_documented_ones() {
    let vote = Vote {
        term: 7,
        node: 2,
        committed: true,
    };
    let start = SegmentStart {
        vote: Some(vote),
        purged: Some(at(6, 100)),
        last: Some(at(7, 250)),
        previous_end: 0x00ff_e0e8,
        previous_link: 0x5566_7788,
    };
    let found = [
        hex(&HEADER.encode()),
        example(&Record::State(start), b"", false),
        example(&Record::Entry(at(7, 251)), b"hello", true),
        example(&Record::Vote(vote), b"", false),
        example(&Record::Truncate(Some(at(6, 249))), b"", false),
        example(&Record::Truncate(None), b"", false),
        example(&Record::Purge(at(6, 100)), b"", false),
    ];
    let document = include_str!("../../../../docs/data-layout.md").replace("\n    ", " ");
    for bytes in found {
        assert!(
            document.contains(&bytes),
            "docs/data-layout.md does not show\n{bytes}"
        );
    }
}
