//! Where the calling process is, in every hierarchy that a group uses.

use backend_cgroupv1::V1Home;
use containment_core::{Backend, HomeOps, Pid, Result};

/// The groups that this process was in.
#[derive(Debug)]
pub(super) struct HybridHome {
    pub(super) v2: Box<dyn HomeOps>,
    pub(super) v1: V1Home,
}

impl HomeOps for HybridHome {
    /// Back in every hierarchy, as far as that is possible: the first failure is told then.
    fn take_back(&self, pid: Pid) -> Result<()> {
        let held = self.v2.take_back(pid);
        let limited = self.v1.take_back(pid);
        held.and(limited.map_err(|error| error.with_backend(Backend::Hybrid)))
    }
}
