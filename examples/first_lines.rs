//! The first lines of a user, on every host: a program in a group of its own, and nothing left of it.
//!
//! `cargo run --example first_lines`

use std::time::Duration;

use containment::{Containment, Policy, Program, Result};

pub(crate) fn main() -> Result<()> {
    let host = Containment::auto()?;
    println!("{}", host.selection());
    let job = host.group(format!("build-{}", std::process::id())).create()?;
    // A member before its first instruction; what it leaves behind is a member, too.
    let build = job.spawn(&Program::new("sh").args(["-c", "sleep 1000 & echo built"]))?;
    let status = build.wait()?;
    let report = job.terminate(&Policy::graceful(Duration::from_secs(10)))?;
    println!("{status}; left behind: {}", report.left_behind.len());
    assert!(report.is_clean(), "somebody survived: {:?}", report.survivors);
    Ok(())
}
