//! Does the size of the supervisor matter to a spawn? Spawn to exit of `/bin/true`, with little memory
//! resident and with much, interleaved with a plain `posix_spawn` by the standard library, with a spawn
//! on copied memory and with two that need such (as root): another user, and a seal; ratios of medians
//! in one run.
//!
//! `cargo bench -p containment-process --bench resident [-- GIB]` (default: 4 GiB).

use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

use containment_core::{Program, Seal, User};
use containment_process::spawn::{Entry, Launch, Memory, spawn};

const ROUNDS: usize = 60;

fn main() {
    let gib = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(4_usize);
    let small = measure();
    let memory = vec![1_u8; gib << 30];
    black_box(&memory);
    let large = measure();
    drop(memory);
    println!("medians of {ROUNDS}, spawn to exit of /bin/true, µs");
    println!("{:<28}{:>10}{:>10}{:>8}", "", "small", format!("{gib} GiB"), "ratio");
    let rows =
        ["posix_spawn (std)", "shared memory (ours)", "copied memory", "another user", "sealed"];
    for (row, (small, large)) in rows.iter().zip(small.iter().zip(&large)) {
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        println!("{row:<28}{:>10}{:>10}{ratio:>8.2}", small.as_micros(), large.as_micros());
    }
    let ours = large[1].as_secs_f64() / large[0].as_secs_f64();
    println!("ours to posix_spawn at {gib} GiB: {ours:.2}");
}

/// The medians of the ways, taken in turn; only root has the last two.
fn measure() -> Vec<Duration> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let mut times = vec![Vec::new(); if is_root { 5 } else { 3 }];
    for _ in 0..ROUNDS {
        times[0].push(time(standard));
        times[1].push(time(|| ours(&program(), Memory::Share)));
        times[2].push(time(|| ours(&program(), Memory::Copy)));
        if is_root {
            let user = User { uid: 65534, gid: 65534, groups: Vec::new() };
            times[3].push(time(|| ours(&program().user(user), Memory::Share)));
            times[4].push(time(|| ours(&program().seal(Seal::BestEffort), Memory::Share)));
        }
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    times.into_iter().map(median).collect()
}

fn time(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn standard() {
    let status = Command::new("/bin/true").status().expect("/bin/true starts");
    assert!(status.success());
}

fn program() -> Program {
    Program::new("/bin/true")
}

fn ours(program: &Program, memory: Memory) {
    let launch = Launch { program, entry: Entry::Nowhere, process_group: None, mark: None, memory };
    let child = spawn(&launch).expect("/bin/true starts");
    child.wait().expect("/bin/true ends");
}
