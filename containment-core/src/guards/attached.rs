//! Moving running processes into a group, as many as there are.

use crate::{
    Backoff, Error, ErrorKind, Group, GroupOps, OpenGroup, Operation, Pid, Result, Waiter, Watch,
};

/// What became of processes that were to be moved into a group. Each stands in one list.
#[derive(Debug, Default)]
#[must_use = "a process that could not be moved runs outside of the group"]
pub struct Attached {
    /// Those that are members now.
    pub moved: Vec<Pid>,
    /// Those that had ended already.
    pub gone: Vec<Pid>,
    /// Those that are not, and why: the error says which.
    pub failed: Vec<Error>,
}

impl Attached {
    /// Whether every process that still runs is a member now.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }
}

/// The kernel's "no such process" (errno(3)).
const ESRCH: i32 = nix::errno::Errno::ESRCH as i32;
/// What the kernel says of a process that is being born or is dying.
const EINVAL: i32 = nix::errno::Errno::EINVAL as i32;
/// How often that is taken for an answer that may change.
const ATTEMPTS: u32 = 6;

impl Group {
    /// Moves running processes in, each with all its threads. What they started before stays where it
    /// is. One that cannot be moved keeps none of the others from it.
    ///
    /// Pid 1 is refused ([`InvalidInput`](ErrorKind::InvalidInput)): it is the init of a host or a container,
    /// and no kill from inside ends it.
    ///
    /// ```
    /// use backend_fake::{Fake, Script};
    /// use containment_core::{CgroupOps, ControllerSet, Group, Pid};
    ///
    /// let fake = Fake::new();
    /// let server = fake.start_outside(Script::new());
    /// let job = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
    /// let init = Pid::new(1).unwrap();
    /// let attached = job.attach([server, init]);
    /// assert_eq!(attached.moved, [server]);
    /// assert!(!attached.is_complete());
    /// assert_eq!(attached.failed[0].pid(), Some(init));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn attach(&self, pids: impl IntoIterator<Item = Pid>) -> Attached {
        attach(self.ops(), self.waiter(), pids)
    }
}

impl OpenGroup {
    /// Moves running processes in, as [`Group::attach`] does.
    pub fn attach(&self, pids: impl IntoIterator<Item = Pid>) -> Attached {
        attach(self.ops(), &**self.waiter(), pids)
    }
}

fn attach(
    group: &dyn GroupOps,
    waiter: &dyn Waiter,
    pids: impl IntoIterator<Item = Pid>,
) -> Attached {
    let mut attached = Attached::default();
    for pid in pids {
        match attach_one(group, waiter, pid) {
            Ok(()) => attached.moved.push(pid),
            Err(error) if error.errno() == Some(ESRCH) => attached.gone.push(pid),
            Err(error) => attached.failed.push(error.with_group(&group.id().name).with_pid(pid)),
        }
    }
    attached
}

fn attach_one(group: &dyn GroupOps, waiter: &dyn Waiter, pid: Pid) -> Result<()> {
    if pid.as_raw() == 1 {
        return Err(Error::new(ErrorKind::InvalidInput, Operation::Attach)
            .because("it is the init process")
            .advise("name the process that the group is to hold"));
    }
    let mut pauses = Backoff::default();
    for _ in 1..ATTEMPTS {
        match group.attach(pid) {
            Err(error) if error.errno() == Some(EINVAL) => {
                waiter.wait(waiter.now() + pauses.pause(), &Watch::Backoff);
            }
            settled => return settled,
        }
    }
    group.attach(pid)
}
