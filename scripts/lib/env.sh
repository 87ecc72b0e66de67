# Sourced by every script and by .ci/run.
# shellcheck shell=bash
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
export ROOT
cd "$ROOT" || exit 1
# One target directory, so that RocksDB's C++ is built once.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${HOME:?HOME must be set}/.cache/quorate/target}"
unset RUSTFLAGS
# Programs that setup.sh unpacked because the machine did not have them.
TOOLS="$CARGO_TARGET_DIR/tools"
export PATH="$PATH:$TOOLS/usr/bin"
LAB="$CARGO_TARGET_DIR/release/cluster-tests"

say() { printf '==> %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Where data goes that no test is about: to memory, if there is enough of it.
memory_dir() {
    local free
    free="$(df --output=avail -k /dev/shm 2> /dev/null | tail -1)"
    if [ -w /dev/shm ] && [ "${free:-0}" -gt 2000000 ]; then
        printf '/dev/shm/quorate-%s' "$(id -u)"
    else
        printf 'target/faults'
    fi
}
