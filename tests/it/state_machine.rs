//! Stories of the state machine, told as scripts: `tests/scripts/state_machine/*.script`.
//! `UPDATE_GOLDENFILES=1` writes what was seen; read the diff.

use crate::support::script::Script;

macro_rules! stories {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            let path = concat!("tests/scripts/state_machine/", stringify!($name), ".script");
            goldenscript::run(&mut Script::new(), path).expect("the story went as written");
        }
    )*};
}

stories! {
    put_and_get,
    claims_and_removal,
    delete_range,
    key_space,
    limit_sort_filter,
    filter_that_filters_nothing,
    txn_compare,
    txn_writes,
    txn_refused,
    txn_one_key_many_changes,
    old_revisions,
    compaction,
    compaction_keeps_tombstones,
    restart,
    members_and_membership,
    alarms,
    downgrade,
    too_large,
    lease,
    lease_revoke,
    lease_fence,
}
