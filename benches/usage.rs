//! What does a look at everything that a group used cost, with files that are opened for it and with files
//! that are kept open (`sampling`)? Medians and their ratio, on each backend with every figure that it has.
//!
//! `cargo bench --bench usage`

use std::time::{Duration, Instant};

use backend_cgroupv1::CgroupV1;
use backend_cgroupv2::CgroupV2;
use containment::{
    Containment, Element as _, Group, Hybrid, Measure, Policy, Program, Result, Set,
};

const ROUNDS: usize = 2_000;

fn main() -> Result<()> {
    let all: Set<Measure> = Measure::ALL.iter().copied().collect();
    let v2 = || CgroupV2::probe(None).map(|driver| driver.measuring(all));
    let v1 = || CgroupV1::probe(None)?.measuring(all);
    let hybrid = || Hybrid::probe(None).map(|driver| driver.measuring(all));
    println!(
        "medians of {ROUNDS}, usage of one group\n{:<8}{:>8}{:>11}{:>7}",
        "", "opened", "kept open", "ratio"
    );
    row("v2", v2().map(Containment::with), v2().map(|v2| Containment::with(v2.sampling())))?;
    row(
        "v1",
        v1().map(Containment::with),
        v1().and_then(CgroupV1::sampling).map(Containment::with),
    )?;
    row(
        "hybrid",
        hybrid().map(Containment::with),
        hybrid().map(|both| Containment::with(both.sampling())),
    )
}

fn row(name: &str, opening: Result<Containment>, keeping: Result<Containment>) -> Result<()> {
    let (opening, keeping) = match (opening, keeping) {
        (Ok(opening), Ok(keeping)) => (opening, keeping),
        (Err(error), _) | (_, Err(error)) => {
            println!("{name:<8}{error}");
            return Ok(());
        }
    };
    let groups = [group(name, &opening)?, group(&format!("{name}-kept"), &keeping)?];
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        for (group, times) in groups.iter().zip(&mut times) {
            let started = Instant::now();
            group.usage()?;
            times.push(started.elapsed());
        }
    }
    let [opened, kept] = times.map(median);
    let ratio = kept.as_secs_f64() / opened.as_secs_f64();
    println!("{name:<8}{:>5} µs{:>8} µs{ratio:>7.2}", opened.as_micros(), kept.as_micros());
    groups.into_iter().try_for_each(|group| {
        assert!(group.terminate(&Policy::kill())?.is_clean());
        Ok(())
    })
}

fn group(name: &str, host: &Containment) -> Result<Group> {
    let group =
        host.group(format!("contain-bench-usage-{name}-{}", std::process::id())).create()?;
    group.spawn(&Program::new("sleep").arg("1000"))?;
    Ok(group)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
