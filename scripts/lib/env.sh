# Sourced by every script and by .ci/run: one target directory, so that RocksDB's C++ is built once.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${HOME:?HOME must be set}/.cache/quorate/target}"
unset RUSTFLAGS
