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
readonly TARGET=x86_64-unknown-linux-musl
readonly WORK=${CARGO_TARGET_DIR:-target}/kernels
readonly GUEST_SECONDS=${GUEST_SECONDS:-900}

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

# Fetches and unpacks the suite's kernel, unless that was done before.
kernel() {
    local suite=$1 root=$WORK/$1 mirror options package
    [[ -e $root/vmlinuz ]] && return
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m 1 debian)
    mkdir -p "$root/lists/partial" "$root/cache/archives/partial" "$root/files"
    echo "deb [arch=amd64] $mirror $suite main" > "$root/sources.list"
    : > "$root/status"
    options=(-o "Dir::Etc::sourcelist=$(realpath "$root/sources.list")" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$(realpath "$root/lists")" -o "Dir::State::status=$(realpath "$root/status")"
        -o "Dir::Cache=$(realpath "$root/cache")")
    apt-get -q "${options[@]}" update
    package=$(apt-cache "${options[@]}" depends linux-image-cloud-amd64 |
        sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    (cd "$root" && apt-get -q "${options[@]}" download "$package" && dpkg -x "$package"*.deb files)
    cp "$root"/files/boot/vmlinuz-* "$root/vmlinuz"
    # A disk in memory, for the limits of I/O.
    find "$root/files" -name 'brd.ko*' -exec cp {} "$root/" \;
    unxz -f "$root"/brd.ko.xz 2>/dev/null || true
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
    (cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) > "$root/initrd.gz"
    rm -rf "$tree"
    timeout "$GUEST_SECONDS" qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m 1024 -nographic -no-reboot \
        -kernel "$root/vmlinuz" -initrd "$root/initrd.gz" \
        -append "console=ttyS0 quiet panic=-1 cgroup_no_v1=all" < /dev/null > "$root/console" 2>&1 || true
    tr -d '\r' < "$root/console" | grep -a '^KERNEL\|^SUITE\|^SKIPPED\|^ALL' || true
    grep -aq '^ALL PASSED' "$root/console" && return
    echo "failed on $1; see $root/console" >&2
    return 1
}

main "$@"
