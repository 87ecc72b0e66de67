//! A judge that cannot find a planted fault judges nothing.

use super::*;
use std::time::Duration;

/// A history under construction; every operation takes one tick, one after the other.
struct Story {
    operations: Vec<Operation>,
    clock: Instant,
}

impl Story {
    fn new() -> Self {
        Self {
            operations: Vec::new(),
            clock: Instant::now(),
        }
    }

    fn tick(mut self, action: Action, outcome: Outcome) -> Self {
        let invoked = self.clock;
        let completed = invoked + Duration::from_millis(1);
        self.clock = completed + Duration::from_millis(1);
        self.operations.push(Operation {
            node: 1,
            action,
            invoked,
            completed,
            outcome,
        });
        self
    }

    fn put(self, key: &'static str, value: &'static str, revision: i64) -> Self {
        self.tick(write(&[(key, value)]), Outcome::Written { revision })
    }

    fn unknown(self, pairs: &[(&'static str, &'static str)]) -> Self {
        self.tick(write(pairs), Outcome::Unknown("deadline".to_owned()))
    }

    fn read(self, key: &'static str, revision: i64, kv: Option<KeyValue>) -> Self {
        self.tick(Action::Read(key.into()), Outcome::Read { revision, kv })
    }

    fn ends(&self, state: &[KeyValue]) -> Result<Verdict> {
        judge(&self.operations, state, 100)
    }

    fn is_refused(&self, state: &[KeyValue], because: &str) {
        let error = self.ends(state).unwrap_err().to_string();
        assert!(error.contains(because), "{error}");
    }
}

fn write(pairs: &[(&'static str, &'static str)]) -> Action {
    Action::Write(
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
    )
}

fn kv(key: &'static str, value: &'static str, mod_revision: i64, version: i64) -> KeyValue {
    let (key, value) = (key.into(), value.into());
    KeyValue {
        key,
        value,
        mod_revision,
        create_revision: 2,
        version,
        lease: 0,
    }
}

#[test]
fn what_was_acknowledged_and_is_there_is_fine() {
    let story =
        Story::new()
            .put("a", "1", 2)
            .put("a", "2", 3)
            .read("a", 3, Some(kv("a", "2", 3, 2)));
    let verdict = story.ends(&[kv("a", "2", 3, 2)]).unwrap();
    assert_eq!(
        (verdict.acknowledged, verdict.reads, verdict.keys),
        (2, 1, 1)
    );
}

#[test]
fn a_lost_write_is_found() {
    Story::new().put("a", "1", 2).is_refused(&[], "lost");
    let overwritten = Story::new().put("a", "1", 2).put("a", "2", 3);
    overwritten.is_refused(&[kv("a", "1", 2, 1)], "acknowledged 2");
    overwritten.is_refused(&[kv("a", "1", 2, 2)], "lost");
    overwritten.is_refused(&[kv("a", "2", 4, 2)], "stored at 4");
}

#[test]
fn an_unknown_write_may_or_may_not_be_there_but_not_twice() {
    let story = Story::new().put("a", "1", 2).unknown(&[("a", "2")]);
    story.ends(&[kv("a", "1", 2, 1)]).unwrap();
    story.ends(&[kv("a", "2", 3, 2)]).unwrap();
    story.is_refused(&[kv("a", "2", 3, 3)], "written 3 times");
    let late = Story::new().unknown(&[("a", "1")]).put("a", "2", 2);
    late.ends(&[kv("a", "1", 3, 2)]).unwrap();
    late.is_refused(&[kv("a", "1", 1, 2)], "lost");
}

#[test]
fn a_value_from_nowhere_is_found() {
    Story::new().is_refused(&[kv("a", "1", 2, 1)], "nobody wrote");
    Story::new()
        .unknown(&[("a", "1")])
        .is_refused(&[kv("a", "9", 2, 1)], "nobody wrote");
}

#[test]
fn a_transaction_in_part_is_found() {
    let story = Story::new().unknown(&[("a", "1"), ("b", "1")]);
    story.ends(&[]).unwrap();
    story
        .ends(&[kv("a", "1", 2, 1), kv("b", "1", 2, 1)])
        .unwrap();
    story.is_refused(&[kv("a", "1", 2, 1)], "in part");
    story.is_refused(&[kv("a", "1", 2, 1), kv("b", "1", 3, 1)], "in part");
}

#[test]
fn revisions_that_repeat_or_go_backwards_are_found() {
    let state = [kv("a", "1", 3, 1), kv("b", "1", 2, 1)];
    Story::new()
        .put("a", "1", 3)
        .put("b", "1", 2)
        .is_refused(&state, "backwards");
    let state = [kv("a", "1", 3, 1), kv("b", "1", 3, 1)];
    Story::new()
        .put("a", "1", 3)
        .put("b", "1", 3)
        .is_refused(&state, "two writes");
    let story = Story::new().put("a", "1", 3).read("b", 2, None);
    story.is_refused(&[kv("a", "1", 3, 1)], "backwards");
    let told_more = Story::new().put("a", "1", 101);
    told_more.is_refused(&[kv("a", "1", 101, 1)], "the end is at");
}

#[test]
fn a_stale_read_is_found() {
    let story = Story::new().put("a", "1", 2).put("a", "2", 3);
    let state = [kv("a", "2", 3, 2)];
    story
        .read("a", 3, Some(kv("a", "1", 2, 1)))
        .is_refused(&state, "stale");
    let story = Story::new().put("a", "1", 2).read("a", 2, None);
    story.is_refused(&[kv("a", "1", 2, 1)], "stale");
}

#[test]
fn a_read_that_claims_a_revision_and_shows_less_is_found() {
    let concurrent = |claimed: i64| {
        let mut story = Story::new().put("a", "1", 5).put("a", "2", 10).read(
            "a",
            claimed,
            Some(kv("a", "1", 5, 1)),
        );
        // The read was under way all the time that the second put was.
        let begun = story.operations[1].invoked;
        story.operations[2].invoked = begun;
        story
    };
    let state = [kv("a", "2", 10, 2)];
    concurrent(9).ends(&state).unwrap();
    concurrent(10).is_refused(&state, "claims revision 10");
    concurrent(12).is_refused(&state, "claims revision 12");
}

#[test]
fn a_read_of_what_never_was_is_found() {
    let story = Story::new()
        .put("a", "1", 2)
        .read("a", 2, Some(kv("a", "9", 2, 1)));
    story.is_refused(&[kv("a", "1", 2, 1)], "never was");
}
