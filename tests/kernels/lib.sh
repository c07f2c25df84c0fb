# What the scripts here share: kernels, packages and booting. Nothing is installed; packages come from the mirror
# that this machine's own apt uses.
readonly TARGET=x86_64-unknown-linux-musl
readonly WORK=${CARGO_TARGET_DIR:-target}/kernels

mirror() {
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m 1 'debian$'
}

# Fetches and unpacks the suite's kernel, unless that was done before.
kernel() {
    local root=$WORK/$1 options package
    [[ -e $root/vmlinuz ]] && return
    mkdir -p "$root/lists/partial" "$root/cache/archives/partial" "$root/files" "$root/modules"
    echo "deb [arch=amd64] $(mirror) $1 main" > "$root/sources.list"
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

# Packs a directory as an initial file system.
pack() {
    (cd "$1" && find . | cpio -o -H newc --quiet | gzip -1)
}

# Boots a kernel without acceleration: VMLINUZ INITRD MEGABYTES PARAMETERS. What the guest says goes to stdout.
emulate() {
    timeout "${GUEST_SECONDS:-900}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m "$3" -nographic -no-reboot \
        -kernel "$1" -initrd "$2" -append "console=ttyS0 quiet panic=-1 $4" < /dev/null 2>&1 || true
}
