# What the scripts here share: kernels, packages and booting. Nothing is installed; packages come from the mirror
# that this machine's own apt uses.
readonly TARGET=x86_64-unknown-linux-musl
readonly WORK=${CARGO_TARGET_DIR:-target}/kernels

mirror() {
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m 1 'debian$'
}

# Ends with status 77, and a line that says so, where a command is missing: need COMMAND=PACKAGE…
need() {
    local missing=()
    for pair in "$@"; do
        command -v "${pair%=*}" > /dev/null || missing+=("${pair#*=}")
    done
    ((${#missing[@]} == 0)) || cannot "these packages are missing: ${missing[*]}"
}

# Tells, in a line and by status 77, that nothing was tried here, and why.
cannot() {
    echo "CANNOT RUN HERE: $*" >&2
    exit 77
}

# Builds the command as it is installed, which is half the work for an emulated processor, and copies it.
command_to() {
    cargo build --release --target "$TARGET" --bin contain
    cp "${CARGO_TARGET_DIR:-target}/$TARGET/release/contain" "$1"
}

# What the tests are built by, without debug information: that is most of what they would have to load.
guest_cargo() {
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_STRIP=symbols CARGO_INCREMENTAL=0 \
        cargo "$1" --target "$TARGET" --target-dir "$WORK/target" "${@:2}"
}

# Fetches and unpacks the suite's kernel, unless that was done before. Its last act is to place `vmlinuz`.
kernel() {
    local root=$WORK/$1
    [[ -e $root/vmlinuz ]] && return
    echo "fetching the kernel of $1" >&2
    (fetch "$1" "$root") > "$WORK/$1.fetched" 2>&1
    if [[ ! -e $root/vmlinuz ]]; then
        tail -n 3 "$WORK/$1.fetched" >&2
        cannot "the kernel of $1 cannot be fetched; see $WORK/$1.fetched"
    fi
}

fetch() {
    local root=$2 options packages package
    rm -rf "$root" && mkdir -p "$root/lists/partial" "$root/cache/archives/partial" "$root/files" "$root/modules"
    root=$(realpath "$root")
    echo "deb [arch=amd64] $(mirror) $1 main" > "$root/sources.list"
    : > "$root/status"
    options=(-q -o Acquire::Retries=3 -o Acquire::http::Timeout=30 -o "Dir::Etc::sourcelist=$root/sources.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$root/lists" -o "Dir::State::status=$root/status" -o "Dir::Cache=$root/cache")
    apt-get "${options[@]}" update || return
    packages=$(image_packages "${options[@]}")
    for package in $packages; do
        (cd "$root" && apt-get "${options[@]}" download "$package" && dpkg -x "$package"*.deb files) || return
    done
    # A disk in memory, for the limits of I/O.
    find "$root/files" -name 'brd.ko*' -exec cp {} "$root/modules/" \;
    find "$root/modules" -name '*.xz' -exec unxz -f {} + || return
    cp "$(find "$root/files" -name 'vmlinuz*' | head -n 1)" "$root/vmlinuz"
}

# The packages of the suite's cloud kernel: one, or those that newer suites have split it into.
image_packages() {
    local image parts
    image=$(apt-cache "$@" depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    parts=$(apt-cache "$@" depends "$image" | sed -n 's/.*Depends: \(linux-\(binary\|modules\)-.*\)/\1/p')
    echo "${parts:-$image}"
}

# Packs a directory as an initial file system, uncompressed: an emulated processor takes long to unpack it.
pack() {
    (cd "$1" && find . | cpio -o -H newc --quiet)
}

# Boots a kernel without acceleration: VMLINUZ INITRD MEGABYTES PARAMETERS. What the guest says goes to stdout. Its processors
# take turns: side by side they lock up now and then (seen on 6.1), and it takes no longer.
emulate() {
    timeout "${GUEST_SECONDS:-2400}" qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 2 -m "$3" -nographic -no-reboot \
        -kernel "$1" -initrd "$2" -append "console=ttyS0 quiet panic=-1 $4" < /dev/null 2>&1 || true
}
