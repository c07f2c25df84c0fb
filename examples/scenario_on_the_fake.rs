//! A scenario that no host shows on demand, on a host that exists in memory only: a member that takes no SIGTERM, and
//! a directory that the kernel calls busy twice. Time is virtual: ten seconds take none.
//!
//! `cargo run --example scenario_on_the_fake`

use std::time::Duration;

use backend_fake::{Fake, Script};
use containment::{Containment, ErrorKind, Operation, Policy, Program, Result, Signal};

pub(crate) fn main() -> Result<()> {
    let fake = Fake::v1();
    fake.program("stubborn", Script::new().ignores(Signal::TERM));
    fake.fail(Operation::Remove, ErrorKind::Busy, 2);
    let host = Containment::with(fake.clone());
    let job = host.group("job").create()?;
    job.spawn(&Program::new("stubborn"))?;

    let report = job.terminate(&Policy::graceful(Duration::from_secs(10)))?;
    println!("gone after {:?} of virtual time", report.elapsed);
    assert!(report.is_clean() && report.elapsed >= Duration::from_secs(10));
    assert_eq!(fake.snapshot().living().count(), 0);
    Ok(())
}
