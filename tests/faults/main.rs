//! Every system call that `contain run`, `contain kill` and `contain gc` make is struck once: its process is
//! killed at it, or it fails with each plausible error. An auditor that shares no code with the product looks
//! at what is left, and at a bystander.
//!
//! `cargo test` strikes one in two hundred, the same ones each time unless `CONTAIN_SEED` names another. With `CONTAIN_FAULTS=all` (`just faults`) everything is struck,
//! the tables are printed, and the exit status tells of failures. `CONTAIN_FAULTS=BACKEND[/ACT[: POINT]]`
//! narrows it, as a failure is printed.

mod acts;
mod audit;
mod errnos;
#[path = "../support/must_run.rs"]
mod must_run;
mod plan;
mod stage;
mod strike;
mod table;
#[path = "../support/time.rs"]
mod time;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use acts::Act;
use libtest_mimic::{Arguments, Failed, Trial};
use plan::Point;
use stage::Stage;
use table::Outcome;

const BACKENDS: [&str; 4] = ["cgroup-v2", "cgroup-v1", "hybrid", "process-group"];

/// After so many strikes it is told how far it is.
const TOLD: usize = 100;

/// How many strikes are under way at once.
const WORKERS: usize = 2;

/// The part that `cargo test` strikes.
const PART: usize = 200;

fn main() -> ExitCode {
    match std::env::var("CONTAIN_FAULTS") {
        Ok(wanted) => everything(&wanted),
        Err(_) => libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    }
}

fn trials() -> Vec<Trial> {
    let seed = seed();
    let each = BACKENDS.iter().flat_map(|backend| Act::ALL.map(|act| (*backend, act)));
    let trial = |(backend, act): (&'static str, Act)| {
        let name = format!("{backend}: {}", act.name());
        Trial::test(name.clone(), move || sample(&name, backend, act, seed))
    };
    each.map(trial).collect()
}

/// Strikes at every two hundredth point, from one that the seed tells.
fn sample(name: &str, backend: &str, act: Act, seed: usize) -> Result<(), Failed> {
    if let Some(reason) = missing(backend) {
        return Ok(skip(name, backend, &reason)?);
    }
    let stage = Stage::open(backend)?;
    let points = act.plan(&stage)?;
    let chosen = points.into_iter().skip(seed % PART).step_by(PART);
    let outcomes: Vec<_> = chosen.map(|point| play(&stage, act, point)).collect();
    let failures = table::failures(&outcomes);
    if failures.is_empty() && !outcomes.is_empty() {
        return Ok(());
    }
    Err(format!("seed {seed}, {}\n{}", table::summary(&outcomes), failures.join("\n")).into())
}

/// `CONTAIN_SEED`, or always the same; printed by what fails.
fn seed() -> usize {
    let given = std::env::var("CONTAIN_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or(7)
}

/// Why nothing can be struck on a backend, unless it can.
fn missing(backend: &str) -> Option<String> {
    let traced = std::process::Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    if !traced.is_ok_and(|output| output.status.success()) {
        return Some("strace cannot trace here".to_owned());
    }
    Stage::open(backend).err()
}

/// Says that nothing was struck, and why; fails where it has to be.
fn skip(name: &str, backend: &str, reason: &str) -> Result<(), String> {
    if must_run::demanded(backend) {
        return Err(format!("{backend} must run here (CONTAIN_MUST_RUN), and cannot: {reason}"));
    }
    writeln!(std::io::stderr(), "SKIPPED {name}: {backend}: {reason}")
        .map_err(|error| error.to_string())
}

fn play(stage: &Stage, act: Act, point: Point) -> Outcome {
    let played = act.play(stage, &point);
    Outcome { backend: stage.backend.clone(), act, point, played }
}

/// Strikes everywhere; prints the tables, and on stderr how far it is.
fn everything(wanted: &str) -> ExitCode {
    let mut outcomes = Vec::new();
    for backend in BACKENDS {
        for act in Act::ALL {
            let name = format!("{backend}/{}", act.name());
            if wanted != "all" && !name.starts_with(wanted) && !wanted.starts_with(&name) {
                continue;
            }
            let chosen =
                |point: &Point| wanted == "all" || format!("{name}: {point}").starts_with(wanted);
            match all_points(backend, act, chosen) {
                Ok(struck) => {
                    eprintln!("{name}: {}", table::summary(&struck));
                    for line in table::failures(&struck) {
                        eprintln!("  {line}");
                    }
                    outcomes.extend(struck);
                }
                Err(reason) => eprintln!("SKIPPED {name}: {backend}: {reason}"),
            }
        }
    }
    println!("{}\n\n{}", table::summary(&outcomes), table::tables(&outcomes));
    let failures = table::failures(&outcomes);
    for line in &failures {
        println!("- {line}");
    }
    ExitCode::from(u8::from(!failures.is_empty() || outcomes.is_empty()))
}

fn all_points(
    backend: &str,
    act: Act,
    chosen: impl Fn(&Point) -> bool,
) -> Result<Vec<Outcome>, String> {
    let mut points = act.plan(&Stage::open(backend)?)?;
    points.retain(chosen);
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let stage = Stage::open(backend)?;
        while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = play(&stage, act, point.clone());
            let mut outcomes = outcomes.lock().expect("no worker panics");
            outcomes.push(outcome);
            if outcomes.len().is_multiple_of(TOLD) {
                // A run takes long, and may be interrupted.
                let struck = table::summary(&outcomes);
                eprintln!("{backend}/{}: {} to strike; {struck}", act.name(), points.len());
            }
        }
        Ok::<(), String>(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    Ok(outcomes.into_inner().expect("no worker panics"))
}
