//! An agent that may be killed at any time: its tasks go on, and when it is started again it opens their
//! groups and learns how each program ended.
//!
//! `cargo run --example restart -- target/debug/contain /tmp/agent` twice, the first one killed or not.

use std::path::Path;

use containment::registry::{Registry, Tenure};
use containment::{Containment, Error, Program, Result};

pub(crate) fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(helper), Some(state)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: restart CONTAIN STATE_DIR");
        return Ok(());
    };
    for (task, status) in agent(Path::new(&helper), Path::new(&state))? {
        println!("{task}: {status}");
    }
    Ok(())
}

/// Starts tasks unless there are some from an earlier life, and tells how each ended.
pub(crate) fn agent(helper: &Path, state: &Path) -> Result<Vec<(String, String)>> {
    let registry = Registry::open(Some(state))?;
    // It is kept for as long as the agent lives: the helper, by which tasks are started, goes with it.
    let host =
        Containment::builder().registry(&registry, Tenure::Lasting).helper(helper).build()?;
    if registry.entries()?.is_empty() {
        start(&host, 3)?;
    }
    collect(&registry)
}

/// Starts tasks that outlive this process.
fn start(host: &Containment, tasks: usize) -> Result<()> {
    for what in host.degraded() {
        eprintln!("doing without {what}");
    }
    for task in 0..tasks {
        let group = host.group(format!("agent-{}-{task}", std::process::id())).create()?;
        group.spawn(&Program::new("sh").args(["-c", &format!("sleep 1; exit {task}")]))?;
        group.keep();
    }
    Ok(())
}

/// Waits for every task there is, whoever started it, and removes its group.
fn collect(registry: &Registry) -> Result<Vec<(String, String)>> {
    let mut statuses = Vec::new();
    for entry in registry.entries()? {
        let entry = entry?;
        let (_, programs) = registry.reopen(&entry)?;
        for program in programs {
            let status =
                program.wait().map_or_else(|error: Error| error.to_string(), |end| end.to_string());
            statuses.push((entry.name.to_string(), status));
        }
        registry.remove_by_force(&entry)?;
    }
    Ok(statuses)
}
