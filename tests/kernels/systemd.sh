#!/usr/bin/env bash
# Tries `contain` on a host with systemd as PID 1: Debian, booted by qemu without acceleration. In it root and
# an unprivileged user run the suite in tests/kernels/systemd/suite. Nothing is installed here.
#
#   tests/kernels/systemd.sh [PART…]      all parts unless some are named: sessions, services, …; costs
#
# Takes root (for debootstrap, which is fetched), qemu-system-x86_64, cpio, dpkg, and the musl target of rustup. The first
# run fetches the packages; they are kept below the target directory.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/kernels/lib.sh
readonly SUITE=bookworm
readonly ROOT=$WORK/systemd
readonly PARTS="sessions buses services scopes stops company refusals doctor library"

main() {
    need qemu-system-x86_64=qemu-system-x86 cpio=cpio unxz=xz-utils dpkg=dpkg rustup=rustup
    [[ $(id -u) == 0 ]] || cannot "debootstrap takes root"
    mkdir -p "$ROOT"
    kernel "$SUITE"
    [[ -e $ROOT/tree ]] || tree
    overlay
    cat "$ROOT/tree" "$ROOT/overlay" > "$ROOT/initrd"
    local parts="${*:-$PARTS}"
    emulate "$WORK/$SUITE/vmlinuz" "$ROOT/initrd" 2048 \
        "systemd.show_status=0 loglevel=3 rdinit=/init contain.parts=${parts// /,}" > "$ROOT/console"
    tr -d '\r' < "$ROOT/console" | grep -a '^HOST\|^CASE\|^  \|^ALL' || true
    if ! grep -aq '^ALL PASSED' "$ROOT/console"; then
        echo "failed with systemd; see $ROOT/console" >&2
        return 1
    fi
}

# A small Debian with systemd, message buses and logins, packed.
tree() {
    local work=$ROOT/work
    rm -rf "$work"
    mkdir -p "$work"
    (cd "$work" && apt-get -q download debootstrap && dpkg -x debootstrap*.deb fetched)
    DEBOOTSTRAP_DIR=$(realpath "$work/fetched/usr/share/debootstrap") \
        sh "$work/fetched/usr/sbin/debootstrap" --variant=minbase \
        --include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,util-linux,procps \
        "$SUITE" "$work/tree" "$(mirror)"
    furnish "$work/tree"
    pack "$work/tree" > "$ROOT/tree.new"
    mv "$ROOT/tree.new" "$ROOT/tree"
    rm -rf "$work"
}

# Without what nobody reads there, and with a user.
furnish() {
    rm -rf "$1"/usr/share/{doc,man,locale,i18n,zoneinfo} "$1"/var/{cache/apt,lib/apt}/* "$1"/boot/*
    chroot "$1" useradd --uid 1000 --create-home --shell /bin/bash alice
    install -d "$1/var/lib/systemd/linger"
    touch "$1/var/lib/systemd/linger/alice"
    ln -s lib/systemd/systemd "$1/init"
}

# What is tried, and who tries it: laid over the tree.
overlay() {
    local over library
    rustup target add "$TARGET"
    library=$(guest_cargo test --workspace --no-run --message-format=json-render-diagnostics --test systemd |
        sed -n 's/.*"name":"systemd".*"executable":"\([^"]*\)".*/\1/p')
    over=$(mktemp -d)
    mkdir -p "$over"/t "$over"/usr/local/bin "$over"/etc/systemd/system/multi-user.target.wants
    command_to "$over/usr/local/bin/contain"
    cp tests/kernels/systemd/{suite,scope} "$over/t/"
    cp tests/kernels/systemd/contain-suite.service "$over/etc/systemd/system/"
    ln -s ../contain-suite.service "$over/etc/systemd/system/multi-user.target.wants/"
    cp "$library" "$over/t/library"
    chmod -R a+rX "$over"
    chmod 755 "$over"/t/* "$over"/usr/local/bin/*
    pack "$over" > "$ROOT/overlay"
    rm -rf "$over"
}

main "$@"
