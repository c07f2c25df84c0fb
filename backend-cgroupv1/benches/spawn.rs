//! What does a spawn into a v1 group cost? Spawn to exit of `/bin/true` in turn with a plain
//! `posix_spawn` by the standard library, with a pause before each: back-to-back spawns hide what a
//! migration waits for.
//!
//! `cargo bench -p backend-cgroupv1 --bench spawn [-- MILLISECONDS]` (default: pauses of 250 ms).

use std::process::Command;
use std::time::{Duration, Instant};

use backend_cgroupv1::CgroupV1;
use containment_core::{CgroupOps, ControllerSet, Group, Policy, Program, Result, Set};

const ROUNDS: usize = 40;

fn main() -> Result<()> {
    let pause = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(250);
    let holding = CgroupV1::probe(None)?;
    let measuring = CgroupV1::probe(None)?.measuring(Set::all())?;
    let groups = [group(&holding, "holding")?, group(&measuring, "measuring")?];
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        times[0].push(time(pause, standard));
        for (group, times) in groups.iter().zip(&mut times[1..]) {
            times.push(time(pause, || ours(group)));
        }
    }
    println!("medians of {ROUNDS}, spawn to exit of /bin/true, pauses of {pause} ms");
    let medians = times.map(median);
    let rows = ["posix_spawn (std)", "v1, holding", "v1, measuring all"];
    for (row, time) in rows.iter().zip(medians) {
        let ratio = time.as_secs_f64() / medians[0].as_secs_f64();
        println!("{row:<20}{:>8} µs{ratio:>8.2}", time.as_micros());
    }
    for group in groups {
        assert!(group.terminate(&Policy::kill())?.is_clean());
    }
    Ok(())
}

fn group(driver: &CgroupV1, name: &str) -> Result<Group> {
    let name = format!("contain-bench-{name}-{}", std::process::id());
    let name = name.parse().expect("letters, digits and hyphens make a name");
    Ok(Group::new(driver.create(&name, ControllerSet::EMPTY)?, driver.waiter()))
}

fn time(pause: u64, work: impl FnOnce()) -> Duration {
    std::thread::sleep(Duration::from_millis(pause));
    let started = Instant::now();
    work();
    started.elapsed()
}

fn standard() {
    let status = Command::new("/bin/true").status().expect("/bin/true starts");
    assert!(status.success());
}

fn ours(group: &Group) {
    let child = group.spawn(&Program::new("/bin/true")).expect("/bin/true starts");
    child.wait().expect("/bin/true ends");
    group.ops().reap().expect("what ended can be reaped");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
