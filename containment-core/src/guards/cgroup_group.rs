//! Several groups under one guard, removed in reverse order.

use std::fmt;
use std::sync::Arc;

use crate::guards::Attached;
use crate::{
    CgroupOps, ControllerSet, CpuSet, Error, ErrorKind, Group, GroupName, Limit, Limits, Operation,
    Pid, Policy, Result, Teardown,
};

/// Groups that go together: dropping this removes them, the last one made first, so that nested groups
/// go before those around them.
///
/// By itself it only *removes*. A group that still has members stays, with a warning: whoever started
/// them ends them. [`kill_on_drop`](Self::kill_on_drop) ends them, too. What cannot be removed is
/// warned about through `tracing`, with a remedy; what is gone already is as it should be.
///
/// ```
/// use backend_fake::Fake;
/// use containment_core::{CgroupGroup, CgroupOps, Topology};
///
/// let fake = Fake::v1();
/// let halves = Topology::flat(&"0-3".parse()?).deal(2)?;
/// let mut groups = CgroupGroup::new(&fake);
/// groups.add_cgroup("cg_0", &halves[0])?;
/// groups.add_cgroup("cg_1", &halves[1])?;
/// assert_eq!(groups.names().map(|name| name.as_str()).collect::<Vec<_>>(), ["cg_0", "cg_1"]);
/// drop(groups);
/// assert!(fake.list()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the guard removes its groups at once"]
pub struct CgroupGroup<'a> {
    driver: Driver<'a>,
    groups: Vec<Group>,
    kill_on_drop: bool,
    owner: Pid,
}

/// The driver that a guard makes its groups with: borrowed, or shared.
///
/// ```
/// use std::sync::Arc;
/// use backend_fake::Fake;
/// use containment_core::{CgroupGroup, CgroupOps};
///
/// let shared: Arc<dyn CgroupOps> = Arc::new(Fake::new());
/// let borrowed = CgroupGroup::new(&*shared);
/// // It can be handed on together with its driver.
/// let holding: CgroupGroup<'static> = CgroupGroup::new(Arc::clone(&shared));
/// assert_eq!((borrowed.groups().len(), holding.groups().len()), (0, 0));
/// ```
#[derive(Clone)]
pub enum Driver<'a> {
    /// Somebody else's, who outlives the guard.
    Borrowed(&'a dyn CgroupOps),
    /// Held by the guard, too.
    Shared(Arc<dyn CgroupOps>),
}

impl<'a> CgroupGroup<'a> {
    /// A guard of no group yet.
    pub fn new(driver: impl Into<Driver<'a>>) -> Self {
        let (driver, owner) = (driver.into(), Pid::current());
        Self { driver, groups: Vec::new(), kill_on_drop: false, owner }
    }

    /// Ends the members of the groups when it is dropped, too, within the bounds that the guard of a
    /// single group has.
    pub fn kill_on_drop(mut self) -> Self {
        self.kill_on_drop = true;
        self
    }

    /// Makes a group whose members run on these CPUs.
    ///
    /// The group is the guard's before the CPUs are set: when that fails, it is there without them, and
    /// goes with the others.
    ///
    /// # Errors
    /// As [`add_cgroup_no_cpuset`](Self::add_cgroup_no_cpuset), and what keeps the CPUs from being set.
    pub fn add_cgroup(&mut self, name: impl AsRef<str>, cpuset: &CpuSet) -> Result<&Group> {
        let group = self.add(name.as_ref(), ControllerSet::EMPTY.with(Limit::Cpuset))?;
        group.set_limits(&Limits::new().cpuset(cpuset.clone()))?;
        Ok(group)
    }

    /// Makes a group that takes its CPUs from the one around it.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name that is none,
    /// [`AlreadyExists`](ErrorKind::AlreadyExists): a namesake is never adopted.
    pub fn add_cgroup_no_cpuset(&mut self, name: impl AsRef<str>) -> Result<&Group> {
        self.add(name.as_ref(), ControllerSet::EMPTY)
    }

    fn add(&mut self, name: &str, with: ControllerSet) -> Result<&Group> {
        let name: GroupName = name.parse().map_err(|invalid: crate::InvalidName| {
            Error::new(ErrorKind::InvalidInput, Operation::Create).because(invalid.to_string())
        })?;
        let driver = self.driver.ops();
        let group = Group::new(driver.create(&name, with)?, driver.waiter());
        self.groups.push(group);
        Ok(&self.groups[self.groups.len() - 1])
    }

    /// The names of the groups, in the order of making.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &GroupName> {
        self.groups.iter().map(|group| &group.id().name)
    }

    /// The groups, in the order of making.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The group of this name.
    pub fn group(&self, name: impl AsRef<str>) -> Option<&Group> {
        self.groups.iter().find(|group| group.id().name.as_str() == name.as_ref())
    }

    /// Moves running processes into the group of this name.
    ///
    /// ```
    /// use backend_fake::{Fake, Script};
    /// use containment_core::CgroupGroup;
    ///
    /// let fake = Fake::new();
    /// let server = fake.start_outside(Script::new());
    /// let mut groups = CgroupGroup::new(&fake).kill_on_drop();
    /// groups.add_cgroup_no_cpuset("web")?;
    /// assert!(groups.attach("web", [server])?.is_complete());
    /// assert_eq!(groups.groups().len(), 1);
    /// assert_eq!(groups.group("web").unwrap().members()?[0].pid, server);
    /// assert!(groups.attach("db", [server]).is_err());
    /// drop(groups);
    /// assert!(!fake.snapshot().lives(server));
    /// # Ok::<(), containment_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when this guard has no such group. What cannot be moved is
    /// told by [`Attached`].
    pub fn attach(
        &self,
        name: impl AsRef<str>,
        pids: impl IntoIterator<Item = Pid>,
    ) -> Result<Attached> {
        let name = name.as_ref();
        let unknown = || Error::new(ErrorKind::NotFound, Operation::Attach).with_group(name);
        Ok(self.group(name).ok_or_else(unknown)?.attach(pids))
    }
}

impl Drop for CgroupGroup<'_> {
    fn drop(&mut self) {
        while let Some(group) = self.groups.pop() {
            if self.owner == Pid::current() {
                end(&group, self.kill_on_drop);
            }
            // Its own guard would kill.
            group.keep();
        }
    }
}

fn end(group: &Group, kill: bool) {
    if !kill {
        if let Err(error) = group.ops().remove() {
            warn_unless_gone(group, &error);
        }
        return;
    }
    let policy = Policy::kill().give_up_after(crate::group::DROP_TIMEOUT);
    let report = Teardown::new(policy).run(group.ops(), group.waiter());
    if !report.removed {
        let left = Error::new(ErrorKind::Busy, Operation::Remove).with_group(&group.id().name);
        warn_unless_gone(group, report.errors.last().unwrap_or(&left));
    }
}

fn warn_unless_gone(group: &Group, error: &Error) {
    if was_gone(error) {
        return;
    }
    tracing::warn!(
        cgroup = %group.id().name,
        %error,
        remedy = error.remedy().or_else(|| remedy(error)),
        "a cgroup could not be removed"
    );
}

/// By its kind, or by the errno of a call that was told nothing of groups.
fn was_gone(error: &Error) -> bool {
    use nix::errno::Errno;
    let errno = error.errno().map(Errno::from_raw);
    error.is_gone() || matches!(errno, Some(Errno::ENOENT | Errno::ENODEV))
}

/// What to do about the two failures that people meet.
fn remedy(error: &Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::Busy => Some(
            "end its members before the guard is dropped, or have the guard do it: kill_on_drop",
        ),
        ErrorKind::PermissionDenied => {
            Some("remove it as the user that made it, or delegate the group around it to this user")
        }
        ErrorKind::HoldsCaller => Some("move this process out of the group first"),
        _ => None,
    }
}

impl Driver<'_> {
    fn ops(&self) -> &dyn CgroupOps {
        match self {
            Self::Borrowed(ops) => *ops,
            Self::Shared(ops) => &**ops,
        }
    }
}

impl<'a> From<&'a dyn CgroupOps> for Driver<'a> {
    fn from(ops: &'a dyn CgroupOps) -> Self {
        Self::Borrowed(ops)
    }
}

impl<'a, T: CgroupOps> From<&'a T> for Driver<'a> {
    fn from(ops: &'a T) -> Self {
        Self::Borrowed(ops)
    }
}

impl From<Arc<dyn CgroupOps>> for Driver<'_> {
    fn from(ops: Arc<dyn CgroupOps>) -> Self {
        Self::Shared(ops)
    }
}

impl fmt::Debug for Driver<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ops().fmt(f)
    }
}

impl fmt::Debug for CgroupGroup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CgroupGroup")
            .field("driver", &self.driver)
            .field("names", &self.names().collect::<Vec<_>>())
            .field("kill_on_drop", &self.kill_on_drop)
            .finish_non_exhaustive()
    }
}
