#!/usr/bin/env bash
# Packs what the guest boots from: this machine's own programs with their libraries, the tests, and `init`.
#
#   tests/kernels/guest.sh BINARIES SUITES MODULES > initramfs
#
# BINARIES holds a directory for each package with its test binaries, and the file `contain` with, in
# `contain.path`, the path at which the tests expect it. SUITES is what is to run. MODULES are kernel modules to load.
set -euo pipefail
BINARIES=$(realpath "$1")
SUITES=$(realpath "$2")
MODULES=$(realpath "$3")
readonly BINARIES SUITES MODULES
cd "$(dirname "$0")"
source lib.sh

# What the tests and the scripts in them call; whatever else they need busybox has.
readonly PROGRAMS=(sh bash env sleep setsid cat ls id cp make unshare setpriv nsenter mount umount getent chrt stty
    script dd yes head tail sed grep timeout nohup mkdir rmdir chmod chown touch ln readlink seq stat tr wc sort
    strace mktemp date ps kill rm mv flock taskset)

main() {
    local tree
    tree=$(mktemp -d)
    # shellcheck disable=SC2064 # the path of now
    trap "rm -rf '$tree'" EXIT
    chmod 755 "$tree"
    mkdir -p "$tree"/{usr/bin,usr/lib64,usr/lib,dev,proc,sys,tmp,run,root,etc,t,modules}
    ln -s usr/bin "$tree/bin"
    ln -s usr/bin "$tree/sbin"
    ln -s usr/lib "$tree/lib"
    ln -s usr/lib64 "$tree/lib64"
    for program in busybox "${PROGRAMS[@]}"; do add "$program" "$tree"; done
    accounts "$tree"
    tests "$tree"
    find "$MODULES" -name '*.ko' -exec cp {} "$tree/modules/" \;
    install -m 755 init "$tree/init"
    pack "$tree"
}

# The suites, their binaries, and the command at the place where they were told that it is.
tests() {
    local expected binary
    cp "$SUITES" "$1/t/suites"
    while read -r _ binary _; do
        install -D "$BINARIES/$binary" "$1/t/$binary"
    done < "$1/t/suites"
    expected=$1$(cat "$BINARIES/contain.path")
    mkdir -p "$(dirname "$expected")"
    cp "$BINARIES/contain" "$expected"
}

# One program under its usual name, and the libraries that the loader would load for it.
add() {
    local path
    path=$(type -P -a "$1" | grep -m 1 '^/usr/bin/\|^/bin/\|^/sbin/\|^/usr/sbin/') || return 0
    cp -L "$path" "$2/usr/bin/$1"
    # A static program has none.
    { ldd "$path" 2>/dev/null || true; } | sed -n 's|^[^/]*\(/[^ ]*\).*|\1|p' | while read -r library; do
        [[ -e $2$library ]] || { mkdir -p "$2$(dirname "$library")" && cp -L "$library" "$2$library"; }
    done
}

# The users and the file that tests ask for by name.
accounts() {
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' > "$1/etc/passwd"
    printf 'root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n' > "$1/etc/group"
    echo guest > "$1/etc/hostname"
    printf 'passwd: files\ngroup: files\n' > "$1/etc/nsswitch.conf"
    ldconfig -p | grep -o '/[^ ]*libnss_files.so.2' | head -n 1 | while read -r library; do
        mkdir -p "$1$(dirname "$library")"
        cp -L "$library" "$1$library"
    done
}

main
