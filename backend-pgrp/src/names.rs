//! The names that one driver has in use: the kernel knows process groups by none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use containment_core::{
    Backend, Error, ErrorKind, GroupId, GroupName, Identity, Operation, Result,
};

/// The groups of one driver.
#[derive(Debug, Default)]
pub(crate) struct Names {
    taken: Mutex<BTreeMap<GroupName, GroupId>>,
}

/// A name that is ours until dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    names: Arc<Names>,
    id: GroupId,
}

impl Names {
    /// Takes a name that is free.
    pub(crate) fn claim(this: &Arc<Self>, name: &GroupName) -> Result<Claim> {
        let mut taken = this.lock();
        if taken.contains_key(name) {
            return Err(Error::new(ErrorKind::AlreadyExists, Operation::Create)
                .with_backend(Backend::ProcessGroup)
                .with_group(name)
                .advise("choose another name, or remove that group"));
        }
        let identity = Identity::Serial(serial());
        let id = GroupId { backend: Backend::ProcessGroup, name: name.clone(), identity };
        taken.insert(name.clone(), id.clone());
        Ok(Claim { names: Arc::clone(this), id })
    }

    pub(crate) fn ids(&self) -> Vec<GroupId> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GroupName, GroupId>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    pub(crate) fn id(&self) -> &GroupId {
        &self.id
    }

    /// Gives the name free again.
    pub(crate) fn release(&self) {
        let mut taken = self.names.lock();
        if taken.get(&self.id.name) == Some(&self.id) {
            taken.remove(&self.id.name);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

/// A number that no other group of this boot has: our pid, and the microsecond, moved on when two
/// groups are made in the same one.
fn serial() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_micros()).unwrap_or_default();
    let later = |last: u64| Some(now.max(last + 1));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later).unwrap_or_default();
    // 2^22 is the most pids that Linux has; 42 bits of microseconds repeat after 50 days.
    now.max(last + 1) << 22 | u64::from(std::process::id())
}
