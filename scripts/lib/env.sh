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
