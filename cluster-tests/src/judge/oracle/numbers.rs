//! The log's own numbers: versions count, creations stay.
//!
//! Each change of a key follows from the one before: a put adds one to the version and keeps the
//! creation, or begins anew after a deletion; and there is nothing to delete where nothing is.

use super::{SHOWN, writer};
use crate::judge::case::Case;
use crate::judge::finding::Violation;
use crate::judge::log::Version;

/// How many changes were compared with the one before.
pub fn check(case: &Case<'_>, violations: &mut Vec<Violation>) -> u64 {
    let log = &case.log;
    let mut checked = 0;
    for key in 0..log.keys.len() {
        let nothing = Version {
            revision: 1,
            value: None,
            create_revision: 0,
            version: 0,
            lease: 0,
        };
        let mut before = nothing;
        for version in log.history(key) {
            let known = !log.has_gap(before.revision + 1, version.revision - 1);
            if known {
                checked += 1;
                let fine = match version.value {
                    Some(_) => {
                        let fresh = before.value.is_none();
                        let created = if fresh {
                            version.revision
                        } else {
                            before.create_revision
                        };
                        version.create_revision == created && version.version == before.version + 1
                    }
                    None => before.value.is_some(),
                };
                if !fine && violations.len() < SHOWN {
                    violations.push(violation(case, log.keys.name(key), &before, version));
                }
            }
            before = *version;
        }
    }
    checked
}

fn violation(case: &Case<'_>, key: &str, before: &Version<'_>, now: &Version<'_>) -> Violation {
    let writes = [before.revision, now.revision];
    let operations = writes.iter().filter_map(|at| writer(case, *at)).collect();
    let told = case.log.revision(now.revision).and_then(|one| one.told);
    let (title, explanation) = match now.value {
        None => (
            format!("{key} was deleted while it was not there"),
            format!(
                "revision {} deletes {key}, which was not there",
                now.revision
            ),
        ),
        Some(value) => (
            format!("The numbers of {key} do not follow from its history"),
            format!(
                "revision {} makes {key} = {value} version {} created at {}, but before it, at \
                 revision {}, it was {}",
                now.revision,
                now.version,
                now.create_revision,
                before.revision,
                state(before)
            ),
        ),
    };
    Violation {
        title,
        explanation,
        contradicts: format!(
            "{key}: {}, from revision {}",
            state(before),
            before.revision
        ),
        operations: case.in_order(operations),
        offender: writer(case, now.revision),
        watch: told,
        key: Some(key.to_owned()),
        at: None,
    }
}

fn state(version: &Version<'_>) -> String {
    match version.value {
        None => "not there".to_owned(),
        Some(value) => format!(
            "{value}, version {}, created at {}",
            version.version, version.create_revision
        ),
    }
}
