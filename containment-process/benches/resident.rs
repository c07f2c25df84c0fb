//! Does the size of the supervisor matter to a spawn? Spawn to exit of `/bin/true`, with little memory
//! resident and with much, interleaved with a plain `posix_spawn` by the standard library and with a
//! spawn on copied memory; ratios of medians in one run.
//!
//! `cargo bench -p containment-process --bench resident [-- GIB]` (default: 4 GiB).

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use containment_core::Program;
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
    let rows = ["posix_spawn (std)", "shared memory (ours)", "copied memory"];
    for (row, (small, large)) in rows.iter().zip(small.iter().zip(&large)) {
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        println!("{row:<28}{:>10}{:>10}{ratio:>8.2}", small.as_micros(), large.as_micros());
    }
    let ours = large[1].as_secs_f64() / large[0].as_secs_f64();
    println!("ours to posix_spawn at {gib} GiB: {ours:.2}");
}

/// The medians of the three ways, taken in turn.
fn measure() -> [Duration; 3] {
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        times[0].push(time(standard));
        times[1].push(time(|| ours(Memory::Share)));
        times[2].push(time(|| ours(Memory::Copy)));
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
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

fn ours(memory: Memory) {
    let program = Program::new("/bin/true");
    let launch = Launch {
        program: &program,
        entry: Entry::Nowhere,
        process_group: None,
        mark: None,
        memory,
    };
    let child = spawn(&launch).expect("/bin/true starts");
    child.wait().expect("/bin/true ends");
}
