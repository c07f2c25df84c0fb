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
readonly HERE=tests/kernels TARGET=x86_64-unknown-linux-musl
readonly WORK=${CARGO_TARGET_DIR:-target}/kernels
# Package directory, kind, name and path of a program, of what cargo says that it built.
readonly ARTIFACT='s|.*"manifest_path":"([^"]*)/Cargo.toml".*"kind":\["(test\|bin)"\].*"name":"([a-z0-9_]*)","src.*"executable":"([^"]*)".*|\1 \2 \3 \4|p'
readonly GUEST_SECONDS=${GUEST_SECONDS:-1200}

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

# Fetches and unpacks the suite's kernel, unless that was done before.
kernel() {
    local root=$WORK/$1 mirror options package
    [[ -e $root/vmlinuz ]] && return
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m 1 debian)
    mkdir -p "$root/lists/partial" "$root/cache/archives/partial" "$root/files" "$root/modules"
    echo "deb [arch=amd64] $mirror $1 main" > "$root/sources.list"
    : > "$root/status"
    options=(-o "Dir::Etc::sourcelist=$(realpath "$root/sources.list")" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$(realpath "$root/lists")" -o "Dir::State::status=$(realpath "$root/status")"
        -o "Dir::Cache=$(realpath "$root/cache")")
    apt-get -q "${options[@]}" update
    for package in $(image_packages "${options[@]}"); do
        (cd "$root" && apt-get -q "${options[@]}" download "$package" && dpkg -x "$package"*.deb files)
    done
    # A disk in memory, for the limits of I/O.
    find "$root/files" -name 'brd.ko*' -exec cp {} "$root/modules/" \;
    unxz -f "$root"/modules/*.xz 2>/dev/null || true
    cp "$(find "$root/files" -name 'vmlinuz*' | head -n 1)" "$root/vmlinuz"
}

# The packages of the suite's cloud kernel: one, or those that newer suites have split it into.
image_packages() {
    local image parts
    image=$(apt-cache "$@" depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    parts=$(apt-cache "$@" depends "$image" | sed -n 's/.*Depends: \(linux-\(binary\|modules\)-.*\)/\1/p')
    echo "${parts:-$image}"
}

# Boots one shape, and adds what its suites said to the results.
boot() {
    local root=$WORK/$1 shape=$2 console=$WORK/$1-$2.console extra=
    [[ $shape == v2 || $shape == none ]] && extra=cgroup_no_v1=all
    "$HERE/guest.sh" "$WORK/bin" "$root/modules" > "$root/initrd.gz" || return
    timeout "$GUEST_SECONDS" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nographic \
        -no-reboot -kernel "$root/vmlinuz" -initrd "$root/initrd.gz" \
        -append "console=ttyS0 quiet panic=-1 $extra shape=$shape" < /dev/null > "$console" 2>&1 || true
    tr -d '\r' < "$console" | "$HERE/results.awk" -v "shape=$shape" > "$console.results"
    cat "$console.results" >> "$WORK/results"
    "$HERE/table.awk" "$console.results" > /dev/null && return
    echo "failed: $1, $shape; see $console" >&2
    return 1
}

main "$@"
