# What the scripts here share: where things are, and kernels. Packages come from the mirror that this machine's own
# apt uses; nothing is installed.
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
