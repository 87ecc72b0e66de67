# Sourced by scripts/test after env.sh and setup.sh: scripts/cluster and the stock etcdctl, used as
# a newcomer would, on addresses of their own.
# shellcheck shell=bash

SMOKE_DIR="$ROOT/target/smoke"
export QUORATE_CLUSTER_IP="${QUORATE_CLUSTER_IP:-127.60.0.1}"

smoke() { "$LAB" cluster --dir "$SMOKE_DIR" "$@"; }
smoke_endpoint() { printf '%s:%d' "$QUORATE_CLUSTER_IP" $((22379 + 10 * ($1 - 1))); }

# expect WHAT WANTED GOT
expect() {
    [ "$2" = "$3" ] && return
    printf '%s\nexpected: %s\n     got: %s\n' "$1" "$2" "$3"
    return 1
}

# says PATTERN COMMAND...: what it prints has such a line. (Not a pipe, which grep would close early.)
says() {
    local pattern="$1" text
    shift
    text="$("$@")" || return
    grep -q -- "$pattern" <<< "$text" && return
    printf '%s: no line like %s in\n%s\n' "$*" "$pattern" "$text"
    return 1
}

# Every command of scripts/cluster once; afterwards no process is left.
smoke_cluster() (
    set -e
    trap 'smoke down > /dev/null 2>&1 || true' EXIT
    smoke up --nodes 3 --fresh
    smoke up
    pids="$(smoke status | awk '$1 ~ /^n[0-9]+$/ { print $2 }')"
    expect "members" 3 "$(wc -w <<< "$pids")"
    smoke pause 2
    says '^n2 .* paused' smoke status
    smoke resume 2
    smoke partition "1>2,3"
    says '1--x->2' smoke status
    smoke heal
    smoke kill 3
    says '^n3 .* dead' smoke status
    smoke restart 3
    smoke up
    pids="$pids $(smoke status | awk '$1 ~ /^n[0-9]+$/ { print $2 }')"
    smoke logs 1 -n 5 > /dev/null
    smoke down
    for pid in $pids; do
        # A zombie is no process of ours any more, and a reused id is somebody else's.
        if grep -qs "$SMOKE_DIR" "/proc/$pid/cmdline"; then
            printf 'process %s is left\n' "$pid"
            exit 1
        fi
    done
)

# The commands that Debian's etcdctl is promised, against one member.
etcdctl_at() {
    local at="$1" key="from-$2" ctl
    ctl() { timeout 20 etcdctl --endpoints "$at" "$@"; }
    ctl_fails() { ctl "$@" 2>&1 && return 1 || return 0; }
    expect put "OK" "$(ctl put "$key" hello)"
    expect get "$key"$'\n'hello "$(ctl get "$key")"
    expect txn $'SUCCESS\n\nOK\n\n'"$key"$'\n'again "$(ctl txn << EOF
value("$key") = "hello"

put $key again
get $key

put $key wrong

EOF
)"
    expect "a failed txn" $'FAILURE\n\n'"$key"$'\n'again "$(ctl txn << EOF
value("$key") = "hello"

put $key wrong

get $key

EOF
)"
    expect del 1 "$(ctl del "$key")"
    expect "get of nothing" "" "$(ctl get "$key")"
    local revision
    revision="$(ctl get "$key" -w json | sed -E 's/.*"revision":([0-9]+).*/\1/')"
    expect compaction "compacted revision $revision" "$(ctl compaction "$revision")"
    says 'required revision has been compacted' ctl_fails compaction "$revision"
    # Four lines of frame and head, and one for the endpoint, or for every member.
    expect "endpoint status" 5 "$(ctl endpoint status -w table | wc -l)"
    says "$at" ctl endpoint status -w table
    # With a scheme etcdctl 3.4 calls the server by its whole URL, which HTTP/2 does not allow.
    says "http://$at" timeout 20 etcdctl --endpoints "http://$at" endpoint status -w table
    expect "endpoint health" 5 "$(ctl endpoint health -w table | wc -l)"
    says "$at.*true" ctl endpoint health -w table
    expect "member list" "$3" "$(ctl member list -w table | wc -l)"
    etcdctl_leases
    etcdctl_watches
    etcdctl_locks
    etcdctl_maintenance
}

# The next ones use the endpoint and the key of etcdctl_at.
etcdctl_leases() {
    local lease
    lease="$(ctl lease grant 600 | sed -nE 's/^lease ([0-9a-f]+) granted with TTL\(600s\)$/\1/p')"
    expect "put with a lease" OK "$(ctl put --lease="$lease" "$key" leased)"
    says "^lease $lease granted with TTL(600s), remaining(\(5..\|600\)s), attached keys(\[$key\])$" \
        ctl lease timetolive --keys "$lease"
    says "^$lease$" ctl lease list
    expect "keep-alive" "lease $lease keepalived with TTL(600)" "$(ctl lease keep-alive --once "$lease")"
    expect "revoke" "lease $lease revoked" "$(ctl lease revoke "$lease")"
    expect "a key whose lease was revoked" "" "$(ctl get "$key")"
    says 'requested lease not found' ctl_fails put --lease="$lease" "$key" late
    says "^lease $lease already expired$" ctl lease timetolive "$lease"
}

# The past and the present: two puts before the watch, and a deletion while it runs.
etcdctl_watches() {
    local revision said
    ctl put "$key" first > /dev/null
    revision="$(ctl get "$key" -w json | sed -E 's/.*"mod_revision":([0-9]+).*/\1/')"
    ctl put "$key" second > /dev/null
    ctl del "$key" > /dev/null
    said="$(until_it_said 13 watch --rev "$revision" --prev-kv "$key")"
    # What was before, if anything; then what it became.
    expect watch "$(printf '%s\n' PUT "$key" first PUT "$key" first "$key" second \
        DELETE "$key" second "$key")" "$said"
}

# until_it_said LINES COMMAND...: what etcdctl said, which would go on, once it has said so much.
until_it_said() {
    local lines="$1" said outcome=0
    shift
    said="$(mktemp)"
    etcdctl --endpoints "$at" "$@" > "$said" &
    eventually_lines "$said" "$lines" || outcome=1
    kill $!
    wait $! 2> /dev/null || true
    cat "$said"
    rm -f "$said"
    return "$outcome"
}

# eventually_lines FILE COUNT: a condition with a deadline.
eventually_lines() {
    local deadline=$((SECONDS + 20))
    while [ "$(wc -l < "$1")" -lt "$2" ]; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# A lock is held while a command runs, which learns its key and its revision; a leader is elected.
etcdctl_locks() {
    # shellcheck disable=SC2016
    says "^$key-lock/[0-9a-f]* [0-9]*$" ctl lock "$key-lock" -- \
        sh -c 'echo "$ETCD_LOCK_KEY $ETCD_LOCK_REV"'
    expect "the lock is let go" "" "$(ctl get --prefix "$key-lock")"
    says "^proposal$" until_it_said 2 elect "$key-election" proposal
}

etcdctl_maintenance() {
    expect "alarm list" "" "$(ctl alarm list)"
    says "^$at, [0-9]*$" ctl endpoint hashkv
    says 'Finished defragmenting etcd member' ctl defrag
    local backup
    backup="$(mktemp -d)"
    says 'Snapshot saved at' ctl snapshot save "$backup/db" 2> /dev/null
    expect "the backup and its checksum" 32 $(($(stat -c %s "$backup/db") % 512))
    rm -r "$backup"
}

smoke_etcdctl() (
    set -e
    export ETCDCTL_API=3
    trap 'smoke down > /dev/null 2>&1 || true' EXIT
    # Once with etcd's own servers: what is expected is etcd's output.
    for program in etcd quorate; do
        smoke up --nodes 3 --fresh --program "$program"
        for node in 1 2 3; do
            printf 'etcdctl against member %d of %s\n' "$node" "$program"
            etcdctl_at "$(smoke_endpoint "$node")" "$node" 7
        done
        smoke down
    done
)
