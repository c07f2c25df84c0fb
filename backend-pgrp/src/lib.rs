//! The process-group driver.
#![forbid(unsafe_code)]

use std::sync::Arc;

use containment_core::{
    Backend, Capabilities, CgroupOps, ControllerSet, Error, ErrorKind, GroupId, GroupName,
    GroupOps, Operation, Result, Waiter,
};

/// The driver of the unified hierarchy.
#[derive(Debug)]
pub struct ProcessGroups {
    capabilities: Capabilities,
}

impl ProcessGroups {
    /// Finds the hierarchy and the group below which groups are made: `parent`, relative to the
    /// hierarchy's root, or our own group.
    pub fn probe(_keeper: Keeper) -> Result<Self> {
        Err(Error::new(ErrorKind::Unusable, Operation::Probe).with_backend(Backend::ProcessGroup))
    }

    /// Proves that groups work here: makes one, clones a child into it that exits, removes it.
    pub fn prove(&self) -> Result<()> {
        Ok(())
    }
}

impl CgroupOps for ProcessGroups {
    fn backend(&self) -> Backend {
        Backend::ProcessGroup
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

/// What holds the processes of a group together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Nothing: the leader is held unreaped, and a member that calls `setsid` is lost.
    None,
    /// A fork of this process, which must be single-threaded at every spawn and serve one group only.
    Worker,
}
