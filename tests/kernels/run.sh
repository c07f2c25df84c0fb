#!/usr/bin/env bash
# Runs the tests of the v2 driver and the conformance suite on another kernel: Debian's cloud kernel of a
# suite, booted by qemu without acceleration, with every controller on cgroup v2. Nothing is installed.
#
#   tests/kernels/run.sh [SUITE…]      bookworm (6.1) unless others are named: bullseye (5.10), trixie (6.12)
#
# Takes qemu-system-x86_64, a static busybox, cpio and dpkg, and the musl target of rustup. The packages come
# from the mirror that this machine's own apt uses.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/kernels/lib.sh

main() {
    mkdir -p "$WORK"
    build
    local failed=0
    for suite in "${@:-bookworm}"; do
        kernel "$suite"
        boot "$suite" || failed=1
    done
    return "$failed"
}

# The static test binaries, and the command that some of them start.
build() {
    rm -rf "$WORK/bin"
    mkdir -p "$WORK/bin"
    cargo test --no-run --target "$TARGET" --message-format=json -p backend-cgroupv2 -p containment \
        --test v2 --test limits --test conformance |
        sed -n 's/.*"name":"\([a-z0-9]*\)".*"executable":"\([^"]*\)".*/\1 \2/p' |
        while read -r name path; do cp "$path" "$WORK/bin/$name"; done
    ls "$WORK/bin"
}

# Boots it; what the guest says of its suites is the result.
boot() {
    local root=$WORK/$1 tree
    tree=$(mktemp -d)
    mkdir -p "$tree"/{bin,dev,t}
    cp "$(command -v busybox)" "$tree/bin/busybox"
    ln -s busybox "$tree/bin/sh"
    cp "$WORK"/bin/* "$tree/t/"
    cp "$root/brd.ko" "$tree/" 2>/dev/null || true
    cp tests/kernels/init "$tree/init"
    chmod 755 "$tree/init"
    pack "$tree" > "$root/initrd.gz"
    rm -rf "$tree"
    emulate "$root/vmlinuz" "$root/initrd.gz" 1024 cgroup_no_v1=all > "$root/console"
    tr -d '\r' < "$root/console" | grep -a '^KERNEL\|^SUITE\|^SKIPPED\|^ALL' || true
    grep -aq '^ALL PASSED' "$root/console" && return
    echo "failed on $1; see $root/console" >&2
    return 1
}

main "$@"
