# Commands that people use. `just` alone lists them.

default:
    @just --list

# Everything that this host can show, in minutes.
test:
    cargo test --workspace

# The full figures: 10,000 runs, agents that die with 100 tasks and 200 groups, 10,000 cycles, 1,000 groups on one
# reaper, 2,000 random sequences a backend, every fault, every schedule of two happenings, and ten minutes of fuzzing a parser.
soak: (fuzz "600") faults schedules
    CONTAIN_SOAK=10000 cargo test --release --test run_soak -- --nocapture
    CONTAIN_SOAK=2000 cargo test --release --test differential
    CONTAIN_SOAK=1 cargo test --release --test restart -- --test-threads 2
    CONTAIN_SOAK=1 cargo test --release --test reaper -- --test-threads 1
    CONTAIN_SOAK=500 cargo test --release --test provenance

# Strikes every system call of run, kill and gc, on every backend (or one: cgroup-v1/kill); prints the tables.
faults what="all": static
    CONTAIN_BINARY=target/x86_64-unknown-linux-musl/release/contain CONTAIN_FAULTS={{what}} cargo test --test faults

# The teardown machine under every schedule in which so many things happen.
schedules depth="2":
    CONTAIN_DEPTH={{depth}} cargo test --release -p containment-core --test every_schedule -- --nocapture

# What decides whether a change lands.
ci:
    .ci/run

# Formatting, lints and documentation; warnings are errors.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features

# The binary that is meant to be installed: static, and three times as fast to start as one against glibc.
static:
    rustup target add x86_64-unknown-linux-musl
    cargo build --release --target x86_64-unknown-linux-musl

# A Debian package of the static binary, with manual pages and completions; needs cargo-deb.
deb: static
    #!/usr/bin/env bash
    set -euo pipefail
    contain=target/x86_64-unknown-linux-musl/release/contain
    rm -rf target/deb && mkdir -p target/deb
    "$contain" man > target/deb/contain.1
    for command in $("$contain" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
        "$contain" man "$command" > "target/deb/contain-$command.1"
    done
    "$contain" completions bash > target/deb/contain.bash
    "$contain" completions zsh > target/deb/_contain
    "$contain" completions fish > target/deb/contain.fish
    # The form of Debian's `copyright`.
    { sed 's/^$/./; s/^/ /' LICENSE-MIT
      printf ' .\n The other one is in /usr/share/common-licenses/Apache-2.0.\n'; } > target/deb/licence
    cargo deb --no-build --target x86_64-unknown-linux-musl

# Needs cargo-deny and cargo-semver-checks. `since` is the commit whose API is compared with: the tag of the last release
# or, before the first one, the commit before this one.
# What would be published: each crate, built from its own package, what it depends on, and whether what was public still is.
package since=`git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || echo HEAD~`:
    cargo package --workspace
    cargo deny check licenses bans sources
    cargo semver-checks --workspace --baseline-rev {{since}}

# Beside the bare system calls and beside peers, into docs/BENCHMARKS.md: everything, or some rows (`just bench spawn kill`).
bench *rows: static
    bench/prepare.sh
    cargo build --release
    cargo build --release --manifest-path bench/Cargo.toml
    bench/target/release/bench {{rows}}

# Where the linker puts what a run executes, by runs that are taken step by step: for another compiler, or much new code.
order: static
    cargo build --release --manifest-path bench/Cargo.toml
    bench/target/release/bench order > target/order.ld
    mv target/order.ld src/bin/contain/order.ld

# Fuzzes each parser of kernel text for so many seconds (600 for the full figure); needs a nightly compiler and cargo-fuzz.
fuzz seconds="60":
    #!/usr/bin/env bash
    set -euo pipefail
    for target in $(cargo +nightly fuzz list); do
        mkdir -p "fuzz/corpus/$target"
        cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- -max_total_time={{seconds}} -max_len=8192
    done

# The suites on other kernels, under qemu: 5.10, 6.1, 6.12 and 7.2, or some of them (`just kernels bookworm:v2`).
kernels *guests:
    tests/kernels/run.sh {{guests}}

# `contain` on a host with systemd: sessions, services and scopes, root and an unprivileged user, under qemu.
systemd:
    tests/kernels/systemd.sh

# `contain` as the step runner of a cluster of Slurm on this machine (or with one way of tracking: `just slurm pgid`).
slurm *proctracks:
    tests/slurm/run.sh {{proctracks}}
