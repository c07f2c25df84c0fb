# Commands that people use. `just` alone lists them.

default:
    @just --list

# Everything that this host can show, in minutes.
test:
    cargo test --workspace

# The full figures: 10,000 runs, agents that die with 100 tasks and 200 groups, 10,000 cycles, and 2,000 random sequences a backend, ten minutes of fuzzing a parser.
soak: (fuzz "600")
    CONTAIN_SOAK=10000 cargo test --release --test run_soak -- --nocapture
    CONTAIN_SOAK=2000 cargo test --release --test differential
    CONTAIN_SOAK=1 cargo test --release --test restart -- --test-threads 2
    CONTAIN_SOAK=500 cargo test --release --test provenance

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

# Does the size of the supervisor matter to a spawn, what does a cgroup v1 cost it, and a look at the figures?
bench:
    cargo bench -p containment-process --bench resident
    cargo bench -p backend-cgroupv1 --bench spawn
    cargo bench --bench hybrid_spawn
    cargo bench --bench helper
    cargo bench --bench usage

# Fuzzes each parser of kernel text for so many seconds (600 for the full figure); needs a nightly compiler and cargo-fuzz.
fuzz seconds="60":
    #!/usr/bin/env bash
    set -euo pipefail
    for target in $(cargo +nightly fuzz list); do
        mkdir -p "fuzz/corpus/$target"
        cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- -max_total_time={{seconds}} -max_len=8192
    done

# The v2 driver with all controllers on other kernels, under qemu (bookworm 6.1, bullseye 5.10, …).
kernels *suites="bookworm":
    tests/kernels/run.sh {{suites}}

# `contain` on a host with systemd: sessions, services and scopes, root and an unprivileged user, under qemu.
systemd:
    tests/kernels/systemd.sh
