//! Says what has to hold, takes the best backend that gives it, and explains the choice: which stronger ones could
//! not be used and why, and what the one that was taken guarantees.
//!
//! `cargo run --example choose_a_backend`

use containment::{Containment, ErrorKind, Escape, Policy, Program, Requirement, Result};

pub(crate) fn main() -> Result<()> {
    // Who leaves the process group has to be found all the same: no backend of less is taken.
    let demanding = Containment::builder().require(Requirement::Escape(Escape::Swept)).build();
    let host = match demanding {
        Ok(host) => host,
        Err(error) if error.kind() == ErrorKind::RequirementUnmet => {
            println!("with less than was asked for: {error:#}");
            Containment::auto()?
        }
        Err(error) => return Err(error),
    };
    println!("{}", host.selection());
    let held = host.capabilities();
    println!("kill: {}, escape: {}, freeze: {}", held.kill, held.escape, held.freeze);

    let job = host.group(format!("chosen-{}", std::process::id())).create()?;
    job.spawn(&Program::new("true"))?.wait()?;
    assert!(job.terminate(&Policy::kill())?.is_clean());
    Ok(())
}
