//! The fake as a driver.

use std::sync::Arc;

use containment_core::{
    Backend, Capabilities, CgroupOps, ControllerSet, Error, ErrorKind, GroupId, GroupName,
    GroupOps, Identity, Operation, Result, Waiter,
};

use crate::Fake;
use crate::clock::VirtualClock;
use crate::group::FakeGroup;
use crate::record::Call;
use crate::world::{OUTSIDE, World};

impl CgroupOps for Fake {
    fn backend(&self) -> Backend {
        Backend::Fake
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn waiter(&self) -> Arc<dyn Waiter> {
        Arc::new(VirtualClock { world: self.world.clone() })
    }

    fn create(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        self.call("create", Operation::Create, Some(name), |world| {
            self.refuse_lacking(with)?;
            let made = world.make(name, with)?;
            Ok(Box::new(FakeGroup::made(self.clone(), world, name, made)) as _)
        })
    }

    fn open(&self, id: &GroupId) -> Result<Box<dyn GroupOps>> {
        self.call("open", Operation::Open, Some(&id.name), |world| {
            if self.persona.is_process_group() {
                // The kernel knows process groups by no name.
                return Err(Error::new(ErrorKind::Unsupported, Operation::Open));
            }
            let found = world.find(&id.name).filter(|g| self.identify(&id.name, *g) == *id);
            let found = found.ok_or_else(|| Error::new(ErrorKind::NotFound, Operation::Open))?;
            Ok(Box::new(FakeGroup::new(self.clone(), world, id.clone(), found)) as _)
        })
    }

    fn list(&self) -> Result<Vec<GroupId>> {
        self.call("list", Operation::List, None, |world| {
            let named = |g: u64| world.node(g).and_then(|node| node.name.clone()).map(|n| (n, g));
            let groups = world.children(OUTSIDE).into_iter().filter_map(named);
            Ok(groups.map(|(name, generation)| self.identify(&name, generation)).collect())
        })
    }
}

impl Fake {
    /// Controllers that the persona lacks are limits that cannot be set.
    pub(crate) fn refuse_lacking(&self, with: ControllerSet) -> Result<()> {
        if with.iter().all(|limit| self.capabilities.limits.contains(limit)) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, Operation::SetLimits))
    }

    /// Whether the group of this generation was removed.
    pub(crate) fn is_gone(&self, generation: u64) -> bool {
        self.world.lock().node(generation).is_none()
    }

    /// The identity of the group of this generation.
    pub(crate) fn identify(&self, name: &GroupName, generation: u64) -> GroupId {
        let identity = match self.persona {
            persona if persona.is_process_group() => Identity::Serial(generation),
            _ => Identity::Cgroup(generation),
        };
        GroupId { backend: Backend::Fake, name: name.clone(), identity }
    }

    /// One call into the model, of no group that would have to be there.
    pub(crate) fn call<T>(
        &self,
        method: &'static str,
        operation: Operation,
        group: Option<&GroupName>,
        act: impl FnOnce(&mut World) -> Result<T>,
    ) -> Result<T> {
        self.call_on(method, operation, group, None, act)
    }

    /// One call into the model, of the group of a generation: meets the faults that were ordered for it, and
    /// leaves its record.
    pub(crate) fn call_on<T>(
        &self,
        method: &'static str,
        operation: Operation,
        group: Option<&GroupName>,
        generation: Option<u64>,
        act: impl FnOnce(&mut World) -> Result<T>,
    ) -> Result<T> {
        let mut world = self.world.lock();
        let result = match generation {
            Some(gone) if world.node(gone).is_none() => Err(Error::new(ErrorKind::Gone, operation)),
            _ => world.faults.meet(operation).and_then(|()| act(&mut world)),
        };
        let at = world.now;
        let failed = result.as_ref().err().map(Error::kind);
        world.calls.push(Call { at, method, group: group.cloned(), failed });
        world.settle();
        result.map_err(|error| {
            let error = error.with_backend(Backend::Fake);
            match group.filter(|_| error.group().is_none()) {
                Some(group) => error.with_group(group),
                None => error,
            }
        })
    }
}
