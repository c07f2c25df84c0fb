//! Containing the children of this very process: it moves into a group of its own, so that whatever it
//! starts from then on is a member, whoever starts it and however.

use std::sync::atomic::{AtomicU32, Ordering};

use containment_core::{
    CgroupOps, Entered, Error, ErrorKind, Group, GroupId, GroupName, Limits, Operation, Pid,
    Policy, Result, TeardownReport,
};
use containment_process::proc::Stat;
use containment_process::signals::AllBlocked;

use crate::builder::Builder;
use crate::making::{Degradation, make, set_limits};
use crate::require::Requirement;
use crate::selection::{Rejected, none_left, passes_on};

/// This process in a fresh group, with every child that it starts.
///
/// [`leave`](Self::leave) moves it back, ends what is left in the group and removes it; dropping does
/// the same by killing at once. What the process started *before* is not in the group.
///
/// - Guards nest: the group is made inside the one that holds the process now.
/// - Only the process that entered cleans up. Its forks are members of the group; the guard does nothing
///   in them.
/// - While it cleans up, no signal is delivered to the calling thread. A process with other threads
///   that do not block signals can be ended by one even then.
/// - A group that holds the caller is never killed: when the way back fails, nothing is.
/// - Children that are killed stay zombies until whoever started them waits for them, as ever.
///
/// ```no_run
/// use std::process::Command;
/// use std::time::Duration;
/// use containment::{Containment, Policy};
///
/// let step = Containment::builder().contain_children()?;
/// Command::new("make").status().expect("make is installed");
/// let report = step.leave(&Policy::graceful(Duration::from_secs(10)))?;
/// report.left_behind.iter().for_each(|member| eprintln!("left running: {}", member.comm));
/// # Ok::<(), containment::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping this ends the children at once"]
pub struct ContainChildren {
    inside: Option<Entered>,
    group: Option<Group>,
    id: GroupId,
    owner: Pid,
    degraded: Vec<Degradation>,
}

impl Builder {
    /// Moves this process into a fresh group with this builder's limits, on the first backend where that
    /// works.
    ///
    /// The builder's registry, helper and seal are not used: nobody ends the group should this process be
    /// killed. [`ContainChildren::with`] takes a driver whose groups are on record.
    ///
    /// # Errors
    /// Those of [`build`](Self::build); process groups cannot be entered. [`Gone`](ErrorKind::Gone) when
    /// the group that holds this process is being taken down: then there is nothing to begin any more.
    pub fn contain_children(&self) -> Result<ContainChildren> {
        self.contain_children_in(&fresh_name())
    }

    /// The same in a group of this name.
    ///
    /// ```
    /// use containment::{Backend, Containment, ErrorKind};
    /// let name = "compile".parse()?;
    /// // Where cgroups can be had it is entered; a process group never can be.
    /// let groups = Containment::builder().backend(Backend::ProcessGroup);
    /// let error = groups.contain_children_in(&name).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::RequirementUnmet);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`contain_children`](Self::contain_children), and
    /// [`AlreadyExists`](ErrorKind::AlreadyExists): a namesake is never adopted.
    pub fn contain_children_in(&self, name: &GroupName) -> Result<ContainChildren> {
        let builder = self.afresh().require(Requirement::Attach);
        let mut rejected = Vec::new();
        for backend in builder.candidates() {
            // Found anew each time: our own group may be another one than it was.
            let entered = match builder.afresh().fit(backend) {
                Ok(found) => enter(&*found.driver, name, &self.limits, self.best_effort),
                Err(reason) => {
                    rejected.push(Rejected { backend, reason });
                    continue;
                }
            };
            match entered {
                Err(reason) if passes_on(&reason) => rejected.push(Rejected { backend, reason }),
                settled => return settled,
            }
        }
        Err(none_left(rejected))
    }
}

impl ContainChildren {
    /// Moves this process into a fresh group of this driver. The group is made where the driver makes
    /// its groups, so that guards nest only where it was probed by this process in its present group.
    ///
    /// ```
    /// use backend_fake::Fake;
    /// use containment::{CgroupOps, ContainChildren, Pid, Policy};
    ///
    /// let fake = Fake::new();
    /// let step = ContainChildren::with(&fake)?;
    /// assert!(step.degraded().is_empty());
    /// assert_eq!(fake.open(step.id())?.members()?[0].pid, Pid::current());
    /// assert!(step.leave(&Policy::kill())?.is_clean());
    /// assert!(fake.list()?.is_empty());
    /// # Ok::<(), containment::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of making a group and of [`Group::enter`].
    pub fn with(driver: &dyn CgroupOps) -> Result<Self> {
        enter(driver, &fresh_name(), &Limits::new(), false)
    }

    /// The group.
    pub fn id(&self) -> &GroupId {
        &self.id
    }

    /// The limits that a best effort did without, each with the reason.
    pub fn degraded(&self) -> &[Degradation] {
        &self.degraded
    }

    /// Moves this process back, ends what is left in the group as `policy` says, and removes it.
    ///
    /// # Errors
    /// [`NotOwner`](ErrorKind::NotOwner) in a fork of the process that entered. When the process cannot
    /// be moved back, that: then it stays in the group with everybody else.
    pub fn leave(mut self, policy: &Policy) -> Result<TeardownReport> {
        let (Some(inside), Some(group)) = (self.inside.take(), self.group.take()) else {
            return Err(self.error(ErrorKind::Gone));
        };
        if self.owner != Pid::current() {
            return Err(self.error(ErrorKind::NotOwner));
        }
        let _held = hold_signals();
        match inside.leave() {
            Ok(()) => group.terminate(policy),
            Err(error) => {
                group.keep();
                Err(error)
            }
        }
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, Operation::Kill).with_group(&self.id.name)
    }
}

impl Drop for ContainChildren {
    fn drop(&mut self) {
        let _held = hold_signals();
        // The order matters: a group that holds the caller is not killed. Each knows its owner.
        drop(self.inside.take());
        drop(self.group.take());
    }
}

/// The group's guard exists before anything is set or moved: what was half made is removed.
fn enter(
    driver: &dyn CgroupOps,
    name: &GroupName,
    limits: &Limits,
    best_effort: bool,
) -> Result<ContainChildren> {
    let group = make(driver, name, limits, best_effort)?;
    let degraded = set_limits(&group, limits, best_effort)?;
    let (inside, id, owner) = (Some(group.enter()?), group.id().clone(), Pid::current());
    Ok(ContainChildren { inside, group: Some(group), id, owner, degraded })
}

/// A name that no other process and no other guard of this one uses in this boot: a left-over of a
/// process that had our pid is never in the way.
pub(crate) fn fresh_name() -> GroupName {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let pid = Pid::current();
    let started = Stat::read(pid).ok().flatten().map_or(0, |stat| stat.started);
    let name = format!("children-{pid}-{started}-{serial}");
    name.parse().expect("digits, letters and hyphens make a name")
}

/// Every signal held back from the calling thread until this is dropped.
pub(crate) fn hold_signals() -> Option<AllBlocked> {
    let held = AllBlocked::new();
    if let Err(error) = &held {
        tracing::warn!(%error, "signals cannot be held back during the clean-up");
    }
    held.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::tests::{Scripted, Stage, empty_group, strong, weak};
    use containment_core::{Backend, FreezeState, HomeOps, MockGroupOps, MockHomeOps};
    use std::sync::Arc;

    /// A group of a mocked driver whose way in ends like this; it is removed once.
    fn group(attach: fn() -> Result<()>, home: fn() -> MockHomeOps) -> MockGroupOps {
        let mut group = entered(attach, home);
        group.expect_remove().times(1).returning(|| Ok(()));
        group
    }

    fn entered(attach: fn() -> Result<()>, home: fn() -> MockHomeOps) -> MockGroupOps {
        let mut group = empty_group();
        group.expect_home().returning(move || Ok(Box::new(home()) as Box<dyn HomeOps>));
        group.expect_frozen().returning(|| Ok(FreezeState::Thawed));
        group.expect_attach().times(1).returning(move |_| attach());
        group
    }

    fn denied() -> Result<()> {
        Err(Error::from_errno(Operation::Attach, 13))
    }

    /// A home that takes the process back once.
    fn home() -> MockHomeOps {
        let mut home = MockHomeOps::new();
        home.expect_take_back().times(1).returning(|_| Ok(()));
        home
    }

    #[test]
    fn a_group_that_cannot_be_entered_is_removed_and_the_next_backend_tried() {
        let host = Scripted::new()
            .stage(
                Backend::CgroupV2,
                Stage::Makes(strong(), || Ok(group(denied, MockHomeOps::new))),
            )
            .stage(Backend::CgroupV1, Stage::Makes(strong(), || Ok(group(|| Ok(()), home))));
        let step = Builder::on(Arc::new(host)).contain_children().unwrap();
        assert!(step.leave(&Policy::kill()).unwrap().is_clean());
    }

    #[test]
    fn where_nothing_can_be_entered_every_reason_is_told() {
        let host = Scripted::new()
            .stage(
                Backend::CgroupV2,
                Stage::Makes(strong(), || Ok(group(denied, MockHomeOps::new))),
            )
            .stage(Backend::ProcessGroup, Stage::Usable(weak()));
        let error = Builder::on(Arc::new(host)).contain_children().unwrap_err();
        let told = ["cgroup-v2: Permission denied (EACCES)", "process-group: attach is required"];
        assert!(told.iter().all(|part| error.to_string().contains(part)), "{error}");
    }

    /// C11: a parent pool that is being shut down.
    #[test]
    fn a_group_that_vanishes_under_our_feet_is_told_as_that() {
        let gone = || Err(Error::new(ErrorKind::Gone, Operation::Attach));
        let driver = || {
            let mut driver = crate::drivers::tests::mock_driver(Backend::Fake, strong());
            driver
                .expect_create()
                .returning(move |_, _| Ok(Box::new(group(gone, MockHomeOps::new))));
            driver
        };
        let refused = ContainChildren::with(&driver()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Gone);
    }

    #[test]
    fn without_a_way_back_nothing_is_killed() {
        fn lost() -> MockHomeOps {
            let mut home = MockHomeOps::new();
            home.expect_take_back().times(1).returning(|_| denied());
            home
        }
        let mut driver = crate::drivers::tests::mock_driver(Backend::Fake, strong());
        driver.expect_create().returning(|_, _| {
            let mut group = entered(|| Ok(()), lost);
            group.expect_kill().never();
            group.expect_remove().never();
            Ok(Box::new(group))
        });
        let step = ContainChildren::with(&driver).unwrap();
        assert_eq!(step.leave(&Policy::kill()).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn names_are_never_used_twice() {
        assert_ne!(fresh_name(), fresh_name());
    }
}
