#!/usr/bin/env bash
# Runs the suites on other kernels: Debian's cloud kernels, booted by qemu without acceleration, each in every
# shape that a host has. Nothing is installed, nothing outside the target directory is written.
#
#   tests/kernels/run.sh [SUITE[:SHAPE]…]     all of bullseye (5.10), bookworm (6.1), trixie (6.12) and sid,
#                                             and of v2, v1, hybrid, none unless some are named
#
# Takes qemu-system-x86_64, a static busybox, cpio and dpkg, and the musl target of rustup. The packages come
# from the mirror that this machine's own apt uses, and are kept. The consoles are kept too.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly HERE=tests/kernels
source "$HERE/lib.sh"
# Package directory, kind, name and path of a program, of what cargo says that it built.
readonly ARTIFACT='s|.*"manifest_path":"([^"]*)/Cargo.toml".*"kind":\["(test\|bin)"\].*"name":"([a-z0-9_]*)","src.*"executable":"([^"]*)".*|\1 \2 \3 \4|p'

main() {
    local all=({bullseye,bookworm,trixie,sid}:{v2,v1,hybrid,none}) failed=0
    mkdir -p "$WORK"
    : > "$WORK/results"
    build
    for wanted in "${@:-${all[@]}}"; do
        for guest in "${all[@]}"; do
            [[ $guest == "$wanted" || $guest == "$wanted":* ]] || continue
            kernel "${guest%:*}"
            boot "${guest%:*}" "${guest#*:}" || failed=1
        done
    done
    "$HERE/table.awk" "$WORK/results"
    return "$failed"
}

# The static test binaries by package, and the command that some of them start.
build() {
    local bin=$WORK/bin
    rm -rf "$bin"
    mkdir -p "$bin"
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_STRIP=symbols CARGO_INCREMENTAL=0 \
        cargo test --workspace --no-run --target "$TARGET" --target-dir "$WORK/target" --message-format=json |
        sed -nE "$ARTIFACT" |
        while read -r manifest kind name path; do
            package=$(basename "$manifest")
            [[ $manifest == "$PWD" ]] && package=containment
            case $kind:$path in
                test:*) install -D "$path" "$bin/$package/$name" ;;
                *deps*) ;;
                bin:*) cp "$path" "$bin/contain" && echo "$path" > "$bin/contain.path" ;;
            esac
        done
    [[ -e $bin/contain ]]
    cp "$HERE/suites" "$bin/suites"
}

# Boots one shape, and adds what its suites said to the results.
boot() {
    local root=$WORK/$1 shape=$2 console=$WORK/$1-$2.console extra=
    [[ $shape == v2 || $shape == none ]] && extra=cgroup_no_v1=all
    "$HERE/guest.sh" "$WORK/bin" "$root/modules" > "$root/initrd.gz" || return
    emulate "$root/vmlinuz" "$root/initrd.gz" 2048 "$extra shape=$shape" > "$console"
    tr -d '\r' < "$console" | "$HERE/results.awk" -v "shape=$shape" > "$console.results"
    cat "$console.results" >> "$WORK/results"
    "$HERE/table.awk" "$console.results" > /dev/null && return
    echo "failed: $1, $shape; see $console" >&2
    return 1
}

main "$@"
