//! What got away from a group, and is still a descendant of ours.

use std::sync::Arc;

use backend_pgrp::{Keeper, ProcessGroups};
use containment_core::{
    CgroupOps as _, GroupName, Policy, Result, Teardown, TeardownReport, Witness,
};

/// Kills and reaps every descendant of this process, those in other sessions and cgroups included.
/// For supervisors that are sub-reapers and whose only children were a group's: a process that was moved
/// out of its cgroup is still a descendant. They are listed as `escaped`, with the origins that `witness`
/// tells.
///
/// ```standalone_crate
/// use std::process::Command;
/// use containment::end_descendants;
///
/// // Orphans among our descendants come to us: prctl(PR_SET_CHILD_SUBREAPER).
/// rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
/// Command::new("sh").args(["-c", "sleep 1000 &"]).status()?;
/// let report = end_descendants(&"left".parse()?, None)?;
/// assert_eq!(report.escaped.len(), 1);
/// assert!(report.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Unusable`](containment_core::ErrorKind::Unusable) where no process can be waited for by pidfd: before
/// Linux 5.4, or without a descriptor to spare. What fails later, as the reading of `/proc`, is in the report.
pub fn end_descendants(
    name: &GroupName,
    witness: Option<Arc<dyn Witness>>,
) -> Result<TeardownReport> {
    let driver = ProcessGroups::probe(Keeper::Worker)?;
    let group = driver.descendants(name)?;
    let teardown = Teardown::new(Policy::kill()).witnessed_by(witness);
    Ok(teardown.run(&*group, &*driver.waiter()))
}
