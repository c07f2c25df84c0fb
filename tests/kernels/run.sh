#!/usr/bin/env bash
# Runs the suites on other kernels: Debian's cloud kernels, booted by qemu without acceleration, each in every
# shape that a host has. Nothing is installed, nothing outside the target directory is written.
#
#   tests/kernels/run.sh [--write | --brief] [SUITE[:SHAPE]…]
#
# Runs all of bullseye (5.10), bookworm (6.1), trixie (6.12) and sid, and of v2, v1, hybrid, none unless some are named.
# Prints a table. With --write it goes into docs/KERNELS.md, together with what the other guests gave when they
# were last run; with --brief each runs its suites with a star only, and one that fails is booted once more: the
# emulated clock stands still whenever the host is busy. Fails where a guest failed, with status 77 where none could be
# run; the consoles are kept.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly HERE=tests/kernels
source "$HERE/lib.sh"
readonly GUESTS=({bullseye,bookworm,trixie,sid}:{v2,v1,hybrid,none})
# Package directory, kind, name and path of a program, of what cargo says that it built.
readonly ARTIFACT='s|.*"manifest_path":"([^"]*)/Cargo.toml".*"kind":\["(test\|bin)"\].*"name":"([a-z0-9_]*)","src.*"executable":"([^"]*)".*|\1 \2 \3 \4|p'

main() {
    local write='' star='\*\{0,1\}' guests guest failed=0
    [[ ${1-} == --write ]] && write=yes && shift
    [[ ${1-} == --brief ]] && star='\*' && shift
    need qemu-system-x86_64=qemu-system-x86 busybox=busybox-static cpio=cpio unxz=xz-utils dpkg=dpkg rustup=rustup
    mkdir -p "$WORK"
    guests=$(wanted "$@")
    for guest in $guests; do kernel "${guest%:*}"; done
    build
    for guest in $guests; do
        boot "${guest%:*}" "${guest#*:}" "$star" || failed_again "$guest" "$star" || failed=1
    done
    [[ $write ]] && guests=${GUESTS[*]}
    results $guests | "$HERE/table.awk" > "$WORK/table" || failed=1
    cat "$WORK/table"
    [[ $write ]] && record "$WORK/table"
    return "$failed"
}

# The guests that are named, by their kernel or with their shape; all of them where none is.
wanted() {
    local guest name found
    for name in "${@:-:}"; do
        found=
        for guest in "${GUESTS[@]}"; do
            [[ $name == : || $guest == "$name" || $guest == "$name":* ]] && found=yes && echo "$guest"
        done
        [[ $found ]] || cannot "there is no guest $name among ${GUESTS[*]}"
    done
}

# The static test binaries that the suites name, by package, and the command that some of them start.
build() {
    local bin=$WORK/bin tests
    rm -rf "$bin"
    mkdir -p "$bin"
    rustup target add "$TARGET"
    tests=$(sed -n '/^#/!s|^[^/]*/\([a-z0-9_]*\).*|--test \1|p' "$HERE/suites" | sort -u)
    guest_cargo test --workspace --no-run --message-format=json-render-diagnostics --bin contain $tests |
        sed -nE "$ARTIFACT" |
        while read -r manifest kind name path; do
            package=$(basename "$manifest")
            [[ $manifest == "$PWD" ]] && package=containment
            case $kind:$path in
                test:*) install -D "$path" "$bin/$package/$name" ;;
                *deps*) ;;
                bin:*) echo "$path" > "$bin/contain.path" ;;
            esac
        done
    [[ -e $bin/contain.path ]]
    command_to "$bin/contain"
}

# A second boot, for a brief run: GUEST STAR. The console of the first is kept beside it.
failed_again() {
    [[ $2 == '\*' ]] || return 1
    local console=$WORK/${1/:/-}.console
    echo "BOOTED ONCE MORE: $1; what failed is in $console.failed" >&2
    grep -aE 'panicked|FAILED' "$console" >&2 || true
    mv "$console" "$console.failed"
    boot "${1%:*}" "${1#*:}" "$2"
}

# Boots one shape: SUITE SHAPE STAR, the pattern behind the shape in the list of suites. What they said is kept.
boot() {
    local root=$WORK/$1 shape=$2 console=$WORK/$1-$2.console initrd=$WORK/$1-$2.initrd extra=''
    [[ $shape == v2 || $shape == none ]] && extra=cgroup_no_v1=all
    echo "booting $1, $shape" >&2
    rm -f "$console" "$console.results"
    sed -n "s/^$shape$3  *//p" "$HERE/suites" > "$console.suites"
    if ! "$HERE/guest.sh" "$WORK/bin" "$console.suites" "$root/modules" > "$initrd"; then
        echo "failed: $1, $shape cannot be packed" >&2
        return 1
    fi
    emulate "$root/vmlinuz" "$initrd" 2048 "$extra shape=$shape" > "$console"
    if grep -q 'Oops: int3' "$console"; then
        # The emulator ran what one processor patches of the kernel while the other was at it: no finding.
        echo "$1, $shape: the emulated kernel ran into its own patch; booted once more, the console is in $console.1" >&2
        mv "$console" "$console.1"
        emulate "$root/vmlinuz" "$initrd" 2048 "$extra shape=$shape" > "$console"
    fi
    rm "$initrd"
    tr -d '\r' < "$console" | "$HERE/results.awk" -v "shape=$shape" > "$console.results"
    "$HERE/table.awk" "$console.results" > /dev/null && return
    echo "failed: $1, $shape; see $console" >&2
    return 1
}

# What these guests said, as far as they were run.
results() {
    local guest
    for guest in "$@"; do
        cat "$WORK/${guest/:/-}.console.results" 2>/dev/null || true
    done
}

# Puts a table between the marks that stand for it in the document.
record() {
    local document=docs/KERNELS.md
    sed -i -e "/^<!-- made by /,/^<!-- end -->/{/^<!-- /!d}" -e "/^<!-- made by /r $1" "$document"
}

main "$@"
