# Sourced after env.sh and setup.sh: the bugs that can be planted (src/canary.rs), and that none of
# them is in what is shipped.
# shellcheck shell=bash

# Every canary in the simulation: caught within 25 seeds, and the same run without it must pass.
simulated_canaries() {
    "$LAB" canaries --sim
}

# Nothing of what only the canaries' build has is in the shipped binary: not a name, not the variable
# that chooses one; and with the variable set it is what it was.
shipped_lacks_canaries() (
    set -e
    shipped="$CARGO_TARGET_DIR/release/quorate"
    version="$("$shipped" --version)"
    expect "the lines of the version" 4 "$(wc -l <<< "$version")"
    if grep -qi canar <<< "$version"; then
        printf 'the shipped binary calls itself a canary:\n%s\n' "$version"
        exit 1
    fi
    expect "the version with a canary asked for" "$version" \
        "$(QUORATE_CANARY=stale-read "$shipped" --version)"
    names="$(sed -nE 's/^ *\(?"([a-z-]+)",( Canary::.*)?$/\1/p' "$ROOT/src/canary.rs")"
    expect "the names in src/canary.rs" "$(grep -c 'Canary::[A-Z].*),$\|^            Canary::[A-Z].*,$' "$ROOT/src/canary.rs")" \
        "$(wc -w <<< "$names")"
    for word in QUORATE_CANARY $names; do
        if grep -qaF -- "$word" "$shipped"; then
            printf '%s is in %s\n' "$word" "$shipped"
            exit 1
        fi
    done
)
