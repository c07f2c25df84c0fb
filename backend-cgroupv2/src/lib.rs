//! The cgroup v2 driver.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use containment_core::{
    Backend, Capabilities, CgroupOps, ControllerSet, Error, ErrorKind, GroupId, GroupName,
    GroupOps, Operation, Result, Waiter,
};

/// The driver of the unified hierarchy.
#[derive(Debug)]
pub struct CgroupV2 {
    capabilities: Capabilities,
}

impl CgroupV2 {
    /// Finds the hierarchy and the group below which groups are made: `parent`, relative to the
    /// hierarchy's root, or our own group.
    pub fn probe(_parent: Option<&Path>) -> Result<Self> {
        Err(Error::new(ErrorKind::Unusable, Operation::Probe).with_backend(Backend::CgroupV2))
    }

    /// Proves that groups work here: makes one, clones a child into it that exits, removes it.
    pub fn prove(&self) -> Result<()> {
        Ok(())
    }
}

impl CgroupOps for CgroupV2 {
    fn backend(&self) -> Backend {
        Backend::CgroupV2
    }
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }
    fn waiter(&self) -> Arc<dyn Waiter> {
        unreachable!()
    }
    fn create(&self, _name: &GroupName, _with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        unreachable!()
    }
    fn open(&self, _id: &GroupId) -> Result<Box<dyn GroupOps>> {
        unreachable!()
    }
    fn list(&self) -> Result<Vec<GroupId>> {
        unreachable!()
    }
}
