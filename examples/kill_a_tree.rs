//! Kills a tree of three levels whose processes have left their parents, their sessions and their group: one branch
//! of it first, then the rest, the groups within the group included.
//!
//! `cargo run --example kill_a_tree`

use containment::{Containment, Group, Policy, Program, Result};

/// Each level outlives the one above it, in a session of its own.
const LEVELS: &str = "setsid sh -c 'setsid sleep 1000 & exec sleep 1001' & exec sleep 1002";

pub(crate) fn main() -> Result<()> {
    let host = Containment::auto()?;
    let name = format!("tree-{}", std::process::id());
    let tree = host.group(&name).create()?;
    grow(&tree)?;
    if host.capabilities().nesting {
        let branch = host.group(format!("{name}/branch")).create()?;
        grow(&branch)?;
        end(branch)?;
    }
    end(tree)
}

/// It need not be waited for: whoever is forked while the group is killed is a member, too.
fn grow(group: &Group) -> Result<()> {
    group.spawn(&Program::new("sh").args(["-c", LEVELS])).map(drop)
}

fn end(group: Group) -> Result<()> {
    let name = group.id().name.clone();
    let report = group.terminate(&Policy::kill())?;
    assert!(report.is_clean(), "somebody survived: {:?}", report.survivors);
    println!("{name} was gone in {:?}", report.elapsed);
    Ok(())
}
