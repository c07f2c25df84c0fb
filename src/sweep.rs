//! What got away from a group, and is still a descendant of ours.

use backend_pgrp::{Keeper, ProcessGroups};
use containment_core::{CgroupOps as _, GroupName, Policy, Result, Teardown, TeardownReport};

/// Kills and reaps every descendant of this process, those in other sessions and cgroups included.
/// For supervisors that are sub-reapers and whose only children were a group's: a process that was moved
/// out of its cgroup is still a descendant. They are listed as `escaped`.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn end_descendants(name: &GroupName) -> Result<TeardownReport> {
    let driver = ProcessGroups::probe(Keeper::Worker)?;
    let group = driver.descendants(name)?;
    Ok(Teardown::new(Policy::kill()).run(&*group, &*driver.waiter()))
}
