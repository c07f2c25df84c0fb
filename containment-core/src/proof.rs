//! The proof that a driver works here.

use crate::{
    CgroupOps, ControllerSet, ErrorKind, Group, GroupName, Operation, Outcome, Program, Result,
};

/// Proves that groups of `driver` with these controllers work: makes one, puts a child into it that
/// exits, removes it. A directory that can be made proves nothing: moving a process takes more rights.
///
/// # Errors
/// What a group that is wanted would fail with.
pub fn prove(driver: &dyn CgroupOps, with: ControllerSet) -> Result<()> {
    let group = Group::new(driver.create(&GroupName::scratch(), with)?, driver.waiter());
    // It need not exist: what is to be proven happens before it is executed.
    let child = group.spawn(&Program::new("/proc/self/exe/none"));
    let proven = match child {
        Err(error)
            if error.operation() == Operation::Spawn && error.kind() != ErrorKind::Killed =>
        {
            Ok(())
        }
        Err(error) => Err(error),
        Ok(child) => child.wait().map(|_: Outcome| ()),
    };
    let removed = group.ops().remove();
    group.keep();
    proven.and(removed)
}
