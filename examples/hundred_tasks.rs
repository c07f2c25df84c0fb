//! An agent with a hundred tasks at once, each a group of its own, which leave processes behind: one thread ends
//! them all, while the agent goes on.
//!
//! `cargo run --example hundred_tasks`

use containment::{Child, Containment, Group, Outcome, Policy, Program, Reaper, Result};

const TASKS: usize = 100;

pub(crate) fn main() -> Result<()> {
    let host = Containment::auto()?;
    let reaper = Reaper::start()?;
    let tasks = (0..TASKS).map(|number| start(&host, number)).collect::<Result<Vec<_>>>()?;

    let (mut done, mut reapings) = (0, Vec::new());
    for (group, child) in tasks {
        match child.wait()? {
            Outcome::Exited(0) => done += 1,
            other => println!("{}: {other}", group.id().name),
        }
        // It is ended from here on, whoever waits for it.
        reapings.push(reaper.submit(group, Policy::kill()));
    }
    let mut left_behind = 0;
    for reaping in reapings {
        let report = reaping.wait()?;
        assert!(report.is_clean(), "somebody survived: {:?}", report.survivors);
        left_behind += report.left_behind.len();
    }
    reaper.finish();
    println!("{done} tasks of {TASKS} are done; they had left {left_behind} processes");
    Ok(())
}

/// A task that leaves a process behind.
fn start(host: &Containment, number: usize) -> Result<(Group, Child)> {
    let group = host.group(format!("task-{}-{number}", std::process::id())).create()?;
    let child = group.spawn(&Program::new("sh").args(["-c", "sleep 1000 & exit 0"]))?;
    Ok((group, child))
}
