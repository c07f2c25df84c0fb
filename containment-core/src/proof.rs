//! The proof that a driver works here.

use crate::{
    CgroupOps, ControllerSet, ErrorKind, Group, GroupName, Operation, Outcome, Program, Result,
};

/// Proves that groups of `driver` with these controllers work: makes one, puts a child into it that
/// exits, removes it. A directory that can be made proves nothing: moving a process takes more rights.
///
/// ```
/// use backend_fake::Fake;
/// use containment_core::{CgroupOps, ControllerSet, ErrorKind, Operation, prove};
///
/// let fake = Fake::new();
/// prove(&fake, ControllerSet::EMPTY)?;
/// assert!(fake.list()?.is_empty(), "nothing is left of it");
/// fake.fail(Operation::Create, ErrorKind::PermissionDenied, 1);
/// let error = prove(&fake, ControllerSet::EMPTY).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::PermissionDenied);
/// fake.fail(Operation::Place, ErrorKind::PermissionDenied, 1);
/// assert!(prove(&fake, ControllerSet::EMPTY).is_err(), "nobody can be moved into it");
/// # Ok::<(), containment_core::Error>(())
/// ```
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
