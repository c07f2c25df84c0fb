//! A build step that leaves a compiler daemon, a shell that ignores SIGTERM and an orphan: they are asked to end,
//! killed when they do not, and named.
//!
//! `cargo run --example build_with_daemons`

use std::time::Duration;

use containment::{Containment, Policy, Program, Result};

/// What a build leaves behind.
const STEP: &str =
    "setsid sleep 1000 & (trap '' TERM; exec sleep 1001) & (sleep 1002 &) ; echo built";

pub(crate) fn main() -> Result<()> {
    let host = Containment::auto()?;
    let job = host.group(format!("step-{}", std::process::id())).create()?;
    let step = job.spawn(&Program::new("sh").args(["-c", STEP]))?;
    let status = step.wait()?;
    let report = job.terminate(&Policy::graceful(Duration::from_millis(200)).measuring())?;

    println!("the step: {status}");
    for member in report.left_behind.iter().chain(&report.escaped) {
        println!("it left {} ({})", member.comm, member.pid);
    }
    if let Some(cpu) = report.usage.and_then(|usage| usage.cpu) {
        println!("all of it used {cpu:?} of CPU time");
    }
    println!("it was gone in {:?}", report.elapsed);
    assert!(report.is_clean(), "somebody survived: {:?}", report.survivors);
    Ok(())
}
