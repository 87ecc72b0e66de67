//! The traps of the etcd API: what nobody expects, and what clients depend on all the same. One
//! named test each, in the order of the list that they come from; first asked of a real etcd 3.4,
//! wherever 3.4 behaves so, and then of three members of Quorate.
//!
//! [`ground`] is what the traps stand on: a cluster that they share, each with keys of its own, and
//! small clusters of their own for what a shared one would not survive.

mod cluster;
pub mod ground;
mod leases;
mod limits;
mod listener;
mod maintenance;
mod ranges;
mod streams;
mod watches;
mod writes;

use crate::cluster::program::Program;
use anyhow::{Result, bail};
use ground::Ground;
use std::path::Path;
use std::time::Instant;

/// On which servers a trap is known to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// On etcd 3.4 too.
    Everywhere,
    /// 3.4 behaves otherwise, and why.
    OnlyHere(&'static str),
    /// Not yet on Quorate, and why.
    NotYet(&'static str),
}
use Holds::{Everywhere, NotYet, OnlyHere};

/// Names the traps and calls them by their number.
macro_rules! traps {
    ($($number:literal $room:ident::$name:ident $holds:expr,)*) => {
        const TRAPS: &[(u32, &str, Holds)] = &[$(($number, stringify!($name), $holds)),*];

        async fn walk_into(number: u32, ground: &mut Ground) -> Result<()> {
            match number {
                $($number => Box::pin($room::$name(ground)).await,)*
                _ => bail!("there is no trap {number}"),
            }
        }
    };
}

traps! {
    1 ranges::count_ignores_limit_and_filters_and_more_does_not Everywhere,
    2 ranges::a_limit_meets_sorting_and_counting Everywhere,
    3 ranges::range_ends_that_are_zero_or_before_the_key Everywhere,
    4 ranges::the_compacted_revision_is_readable_and_the_next_one_is_the_future Everywhere,
    5 writes::what_changes_nothing_makes_no_revision Everywhere,
    6 writes::comparing_the_value_of_a_missing_key_is_false_whatever_is_asked Everywhere,
    7 writes::comparisons_see_the_state_before_and_errors_leave_no_trace Everywhere,
    8 writes::duplicate_keys_are_refused_in_the_branch_not_taken_too Everywhere,
    9 limits::a_path_of_128_operations_is_taken_and_129_is_refused Everywhere,
    10 writes::a_put_without_a_lease_detaches_and_ignore_lease_keeps Everywhere,
    11 writes::headers_carry_the_revision_at_their_place Everywhere,
    12 watches::created_comes_first_and_ids_are_the_clients_or_the_servers Everywhere,
    13 watches::a_revision_is_one_message_and_fragments_are_contiguous Everywhere,
    14 watches::progress_is_never_ahead_of_an_event
        OnlyHere("3.4 answers a progress request while a watcher still waits for its start"),
    15 watches::a_deletion_at_the_compacted_revision_is_still_told
        OnlyHere("fixed in 3.4.36; Debian's is 3.4.23"),
    16 leases::leases_have_a_least_time_and_unknown_ones_are_minus_one Everywhere,
    17 leases::the_keys_of_an_expired_lease_go_in_one_revision_in_order Everywhere,
    18 leases::a_waiter_whose_session_ended_does_not_get_the_lock
        OnlyHere("fixed in 3.5"),
    19 limits::permissions_hold_at_apply_in_both_branches NotYet("there are no users yet"),
    20 limits::what_crashes_etcd_is_refused_before_it_is_proposed
        OnlyHere("3.4 does not survive it"),
    21 limits::some_refusals_have_the_code_unknown Everywhere,
    22 limits::too_large_is_said_in_two_ways_at_two_limits Everywhere,
    23 maintenance::the_hash_of_all_pairs_is_etcds_bit_by_bit Everywhere,
    24 maintenance::a_backup_ends_with_its_checksum_and_the_version_is_new_enough Everywhere,
    25 streams::a_stream_that_needs_a_leader_ends_without_one Everywhere,
    26 limits::without_space_deletions_and_reads_go_through Everywhere,
    27 limits::a_transaction_that_only_reads_is_no_write_and_a_nested_one_is Everywhere,
    28 streams::a_member_alone_answers_serializable_reads_only Everywhere,
    29 cluster::a_restart_keeps_the_revision_when_all_was_compacted Everywhere,
    30 cluster::members_are_added_once_and_promoted_when_in_step Everywhere,
}

/// Walks into all traps, or only these, on etcd and then on Quorate, or only on one of them.
///
/// # Errors
/// One of them is not as it should be.
pub async fn run(dir: &Path, programs: &[Program], only: &[u32]) -> Result<()> {
    let mut failed = 0;
    let mut lines = Vec::new();
    for &program in programs {
        let mut ground = Box::pin(Ground::open(program, &dir.join(program.to_string()))).await?;
        for &(number, name, holds) in TRAPS {
            if !only.is_empty() && !only.contains(&number) {
                continue;
            }
            let why = match (holds, program) {
                (OnlyHere(why), Program::Etcd) => Some(why),
                (NotYet(why), _) => Some(why),
                (Everywhere | OnlyHere(_), _) => None,
            };
            if let Some(why) = why {
                lines.push(format!("left out {number:>2} on {program}: {name}: {why}"));
                continue;
            }
            ground.walk_to(number);
            let start = Instant::now();
            let outcome = Box::pin(walk_into(number, &mut ground)).await;
            let ms = start.elapsed().as_millis();
            let line = match outcome {
                Ok(()) => format!("passed {number:>2} on {program} ({ms} ms): {name}"),
                Err(error) => {
                    failed += 1;
                    format!("FAILED {number:>2} on {program} ({ms} ms): {name}: {error:#}")
                }
            };
            println!("{line}");
            if outcome_is_worth_repeating(&line) {
                lines.push(line);
            }
        }
        ground.close()?;
    }
    println!("\n{}", lines.join("\n"));
    if failed > 0 {
        bail!("{failed} traps caught us");
    }
    Ok(())
}

/// What is not as it should be stands at the end again.
fn outcome_is_worth_repeating(line: &str) -> bool {
    !line.starts_with("passed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_thirty() {
        let numbers = TRAPS.iter().map(|(number, ..)| *number);
        assert_eq!(numbers.collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>());
    }
}
