//! Whether a group is confined to CPUs or memory nodes: then its programs move themselves in.
//!
//! A child that is born in a group keeps the CPUs and nodes of its parent on kernels before 6.4 (seen on 5.10;
//! mended by "cgroup/cpuset: Add `cpuset_can_fork()`"), so that a limit would not be in force. And who joins
//! other memory nodes has its memory policy rebound to them, so that it must not run on our memory.

use std::sync::atomic::{AtomicBool, Ordering};

use containment_process::cgroupfs::parse::list;
use containment_process::cgroupfs::{Dir, Failure, Texts};

/// What a group's CPUs and nodes are other than those of the driver's parent group.
#[derive(Debug, Default)]
pub(crate) struct Confined {
    cpus: AtomicBool,
    mems: AtomicBool,
}

impl Confined {
    /// Looks again, after a change.
    pub(crate) fn look(&self, parent: &Dir, group: &Dir) -> Result<(), Failure> {
        let differs = |file| {
            let own = group.figure(file, list)?;
            // At the hierarchy's root it is there as well.
            Ok::<_, Failure>(own.is_some() && own != parent.figure(file, list)?)
        };
        self.cpus.store(differs("cpuset.cpus.effective")?, Ordering::Relaxed);
        self.mems.store(differs("cpuset.mems.effective")?, Ordering::Relaxed);
        Ok(())
    }

    /// Whether programs have to move themselves in.
    pub(crate) fn at_all(&self) -> bool {
        self.cpus.load(Ordering::Relaxed) || self.to_nodes()
    }

    /// Whether they must do so on memory of their own.
    pub(crate) fn to_nodes(&self) -> bool {
        self.mems.load(Ordering::Relaxed)
    }
}
