# Sourced by scripts/test after env.sh, setup.sh and smoke.sh: other people's clients, and a peer's
# own tests, against three members.
# shellcheck shell=bash

CLIENTS_DIR="$ROOT/target/clients"
PYTHON_VENV="$CARGO_TARGET_DIR/python"

# The Python client of cluster-tests/clients, with exactly the versions that are named there.
setup_python() {
    local wanted="$ROOT/cluster-tests/clients/requirements.txt"
    cmp -s "$wanted" "$PYTHON_VENV/requirements.txt" && return
    if ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
        apt_update_once
        as_root_apt install --no-install-recommends python3 python3-venv
    fi
    say "installing the Python client into $PYTHON_VENV"
    rm -rf "$PYTHON_VENV"
    python3 -m venv "$PYTHON_VENV"
    "$PYTHON_VENV/bin/pip" install -q --disable-pip-version-check --retries 2 -r "$wanted" \
        || die "no Python client: PyPI does not answer, or has not what $wanted names"
    cp "$wanted" "$PYTHON_VENV/requirements.txt"
}

# python_client PROGRAM...: against three members of each. With etcd's own servers it shows that what
# is expected is what etcd does.
python_client() (
    set -e
    setup_python
    trap 'smoke down > /dev/null 2>&1 || true' EXIT
    for program in "$@"; do
        smoke up --nodes 3 --fresh --program "$program"
        printf 'etcd3 for Python against three members of %s\n' "$program"
        "$PYTHON_VENV/bin/python" "$ROOT/cluster-tests/clients/etcd3_client.py" \
            "$(smoke_endpoint 1)" "$(smoke_endpoint 2)" "$(smoke_endpoint 3)"
        smoke down
    done
)

# The etcd-client crate ships its tests and examples; they are built as published: with the lock file that is
# in the package.
PEER_VERSION=0.21.1
PEER_SOURCE="$CARGO_TARGET_DIR/peer/etcd-client-$PEER_VERSION"
# A small tree of dependencies, of its own: nothing of ours is built again for it, nor RocksDB.
PEER_TARGET="$CARGO_TARGET_DIR/peer/target"
# They are about users and passwords, which are not there yet.
PEER_AUTH_TESTS=(test_auth test_auth_refresh_token test_auth_refresh_token_once_for_concurrent_calls
    test_role test_user)
PEER_AUTH_EXAMPLES=(auth auth_role auth_user)
# Wants a header of the answer when there is another member to move to, which no etcd sends; its
# authors run it with one member.
PEER_LONELY_TESTS=(test_move_leader)
# Asks the member on localhost:2379 for what only a leader does, so that it must lead first.
PEER_LEADER_EXAMPLES=(maintenance)
PEER_EXAMPLES=(kv lease lock election watch namespace)

# Cargo fetches what somebody depends on.
fetch_peer() {
    local somebody="$PEER_SOURCE.somebody"
    mkdir -p "$somebody/src"
    touch "$somebody/src/lib.rs"
    printf '[package]\nname = "somebody"\nedition = "2024"\n[dependencies]\netcd-client = "=%s"\n[workspace]\n' \
        "$PEER_VERSION" > "$somebody/Cargo.toml"
    cargo fetch --manifest-path "$somebody/Cargo.toml"
}

build_peer() {
    local package
    if [ ! -f "$PEER_SOURCE/Cargo.toml" ]; then
        fetch_peer
        package=("${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"etcd-client-$PEER_VERSION")
        [ -f "${package[0]}/tests/client.rs" ] || die "no tests in ${package[0]}"
        mkdir -p "$(dirname "$PEER_SOURCE")"
        rm -rf "$PEER_SOURCE.part"
        cp -r "${package[0]}" "$PEER_SOURCE.part"
        mv "$PEER_SOURCE.part" "$PEER_SOURCE"
    fi
    (cd "$PEER_SOURCE" && CARGO_TARGET_DIR="$PEER_TARGET" cargo test --locked --no-run)
}

# COMMAND... with loopback addresses of its own where the kernel allows it, because the tests insist
# on localhost:2379; else on those of the machine, if they are free.
on_its_own_localhost() {
    if unshare --net --map-root-user ip link set lo up 2> /dev/null; then
        unshare --net --map-root-user "$BASH" -c 'ip link set lo up && exec "$@"' own "$@"
    else
        "$@"
    fi
}

peer_tests() { on_its_own_localhost "$BASH" "$ROOT/scripts/lib/peer-tests" "${1:-quorate}"; }
