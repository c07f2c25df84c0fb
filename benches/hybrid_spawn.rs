//! What do limits in v1 hierarchies cost a spawn? Spawn to exit of `/bin/true` with pauses in between, as
//! a supervisor spawns now and then: by the standard library, in a v2 group, and in hybrid groups with
//! limits in none, one and three v1 hierarchies; ratios of medians in one run.
//!
//! `cargo bench --bench hybrid_spawn [-- MILLISECONDS]` (the pause; default: 250).

use std::process::Command;
use std::time::{Duration, Instant};

use containment::{Backend, Bytes, Containment, Cpus, Group, Limits, Policy, Program, Result};

const ROUNDS: usize = 60;

fn main() -> Result<()> {
    let pause = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(250);
    let none = Limits::new();
    let one = Limits::new().pids_max(1000);
    let three = one
        .clone()
        .memory_max(Bytes::gib(1))
        .cpus(Cpus::new(2.0).expect("two CPUs are a number of CPUs"));
    let groups = [
        group("v2", Backend::CgroupV2, &none)?,
        group("hybrid-0", Backend::Hybrid, &none)?,
        group("hybrid-1", Backend::Hybrid, &one)?,
        group("hybrid-3", Backend::Hybrid, &three)?,
    ];
    let mut times = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        times[0].push(time(pause, || {
            assert!(Command::new("/bin/true").status().expect("/bin/true starts").success());
        }));
        for (group, times) in groups.iter().zip(&mut times[1..]) {
            times.push(time(pause, || {
                let child = group.spawn(&Program::new("/bin/true")).expect("/bin/true starts");
                child.wait().expect("/bin/true ends");
            }));
        }
    }
    print(times, pause);
    for group in groups {
        assert!(group.terminate(&Policy::kill())?.is_clean());
    }
    Ok(())
}

fn group(name: &str, backend: Backend, limits: &Limits) -> Result<Group> {
    let host = Containment::builder().backend(backend).build()?;
    host.group(format!("contain-bench-{name}-{}", std::process::id())).limits(limits).create()
}

fn time(pause: u64, work: impl FnOnce()) -> Duration {
    std::thread::sleep(Duration::from_millis(pause));
    let started = Instant::now();
    work();
    started.elapsed()
}

fn print(times: [Vec<Duration>; 5], pause: u64) {
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    println!("medians of {ROUNDS}, {pause} ms apart, spawn to exit of /bin/true");
    println!("{:<28}{:>8}{:>16}{:>8}", "", "µs", "to posix_spawn", "to v2");
    let rows =
        ["posix_spawn (std)", "v2", "hybrid", "hybrid, 1 hierarchy", "hybrid, 3 hierarchies"];
    for (row, median) in rows.iter().zip(medians) {
        let to = |other: Duration| median.as_secs_f64() / other.as_secs_f64();
        let (standard, v2) = (to(medians[0]), to(medians[1]));
        println!("{row:<28}{:>8}{standard:>16.2}{v2:>8.2}", median.as_micros());
    }
}
