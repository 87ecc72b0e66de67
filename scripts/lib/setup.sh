# Sourced after env.sh. Installs what a fresh Debian machine with Rust lacks, and builds.
# shellcheck shell=bash

# Runs apt-get as root, or says what to run.
as_root_apt() {
    command -v apt-get > /dev/null || die "no apt-get here; needed: $*"
    if [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" >&2
    elif sudo -n true 2> /dev/null; then
        sudo DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" >&2
    else
        die "not root, and no sudo without a password; please run: apt-get $*"
    fi
}

APT_UPDATED=
apt_update_once() {
    [ -n "$APT_UPDATED" ] && return
    say "refreshing the package lists"
    as_root_apt update
    APT_UPDATED=1
}

# libclang itself: libclang-cpp, which many machines have, is another library.
has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] || compgen -G '/usr/lib/llvm-*/lib/libclang[.-][0-9s]*' > /dev/null \
        || compgen -G '/usr/lib/*/libclang[.-][0-9s]*' > /dev/null
}

# What the build needs: a C++ compiler and libclang for RocksDB, make for jemalloc, protoc for the wire types.
setup_build() {
    command -v cargo > /dev/null || die "no cargo on the PATH; Rust comes from https://rustup.rs"
    local missing=()
    { command -v c++ && command -v make; } > /dev/null || missing+=(build-essential)
    # The well-known types are in the second, which the first only recommends.
    command -v protoc > /dev/null || missing+=(protobuf-compiler libprotobuf-dev)
    has_libclang || missing+=(libclang-dev)
    if [ ${#missing[@]} -gt 0 ]; then
        apt_update_once
        say "installing ${missing[*]}"
        as_root_apt install --no-install-recommends "${missing[@]}"
    fi
}

# The stock etcd and etcdctl, to compare with. Unpacked, not installed: Debian's package would
# start a server on the very ports of scripts/cluster. With an argument only that package.
setup_etcd() {
    local missing=() package only="${1:-etcd-server etcd-client}"
    # What was unpacked by halves, because somebody ended this, is unpacked again.
    "$TOOLS/usr/bin/etcd" --version > /dev/null 2>&1 || rm -f "$TOOLS/usr/bin/etcd"
    ETCDCTL_API=3 "$TOOLS/usr/bin/etcdctl" version > /dev/null 2>&1 || rm -f "$TOOLS/usr/bin/etcdctl"
    hash -r
    [[ "$only" != *etcd-server* ]] || command -v etcd > /dev/null || missing+=(etcd-server)
    [[ "$only" != *etcd-client* ]] || command -v etcdctl > /dev/null || missing+=(etcd-client)
    [ ${#missing[@]} -gt 0 ] || { etcd_is_known "$only"; return; }
    command -v apt-get > /dev/null || die "no apt-get here; needed: ${missing[*]}"
    mkdir -p "$TOOLS"
    for package in "${missing[@]}"; do
        say "unpacking Debian's $package into $TOOLS"
        (cd "$TOOLS" && apt-get -q download "$package" >&2) || {
            apt_update_once
            (cd "$TOOLS" && apt-get -q download "$package" >&2)
        }
        dpkg -x "$TOOLS/${package}"_*.deb "$TOOLS"
    done
    etcd_is_known "$only"
}

# The list of exceptions of the differential test is that of one release. No pipe into `grep -q`, which
# leaves at the first match: a program that still writes is killed for it, and the pipe has failed.
etcd_is_known() {
    [[ "$1" == *etcd-server* ]] || return 0
    local version
    version="$(etcd --version 2>&1)" || die "$(command -v etcd) does not run: $version"
    [[ "$version" == "etcd Version: 3.4."* ]] \
        || die "$(command -v etcd) is not 3.4, with which Quorate is compared, but: $version"
}

# nft, for those runs that filter packets. Unpacked with its libraries, which it is started with.
setup_nft() {
    PATH="$PATH:/usr/sbin:/sbin" command -v nft > /dev/null && return
    command -v apt-get > /dev/null || die "no apt-get here; needed: nftables"
    local packages=(nftables libnftables1 libnftnl11 libmnl0 libjansson4 libedit2 libxtables12 libbsd0 libmd0)
    mkdir -p "$TOOLS/usr/bin"
    say "unpacking Debian's nftables into $TOOLS"
    (cd "$TOOLS" && apt-get -q download "${packages[@]}" >&2) || {
        apt_update_once
        (cd "$TOOLS" && apt-get -q download "${packages[@]}" >&2)
    }
    local package
    for package in "${packages[@]}"; do
        dpkg -x "$TOOLS/${package}"_*.deb "$TOOLS"
    done
    cat > "$TOOLS/usr/bin/nft" << 'END'
#!/bin/sh
tools="$(dirname "$0")/../.."
LD_LIBRARY_PATH="$(echo "$tools"/usr/lib/*-linux-gnu*)" exec "$tools/usr/sbin/nft" "$@"
END
    chmod +x "$TOOLS/usr/bin/nft"
    nft --version > /dev/null || die "the unpacked nft does not run"
}

# Builds both programs. The first time takes a while: RocksDB is C++.
build() {
    setup_build
    if [ ! -x "$CARGO_TARGET_DIR/release/quorate" ]; then
        say "the first build compiles RocksDB too: some minutes on a small machine"
    fi
    cargo build --release --locked --workspace --bin quorate
    build_lab --bin cluster-tests
}

# The laboratory's programs have the bugs in them that can be planted (src/canary.rs), so that it can
# test itself: with none planted they are the product. One build serves all of them; what is shipped is
# built without. The features of all packages are asked for together: of one package alone the
# dependencies would be other ones, and RocksDB and openraft compiled again.
build_lab() {
    cargo build --release --locked --workspace --features quorate/canaries "$@"
}

build_simulator() {
    build
    build_lab --bin quorate-sim
}

build_canaries() {
    build
    build_lab --bin quorate-canaries
}
