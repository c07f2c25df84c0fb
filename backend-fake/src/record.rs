//! What a test can see of the world: a snapshot, the calls that were made, the signals that were sent.

use containment_core::{ErrorKind, GroupName, Pid, ProcessState, Signal, Time};

/// One call of the driver, of a group or of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// When it was made.
    pub at: Time,
    /// The trait's method.
    pub method: &'static str,
    /// The group that it was made on.
    pub group: Option<GroupName>,
    /// How it failed, if it did.
    pub failed: Option<ErrorKind>,
}

/// One signal to one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentSignal {
    /// When it was sent.
    pub at: Time,
    /// The process that got it.
    pub pid: Pid,
    /// The signal.
    pub signal: Signal,
    /// Whether the process was, at that moment, a member of the group that was acted on.
    pub to_member: bool,
}

/// What is there at one moment.
///
/// ```
/// use std::time::Duration;
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ControllerSet, Program};
///
/// let fake = Fake::new();
/// fake.program("make", Script::new().exits(Duration::from_secs(1), 0));
/// let group = fake.create(&"job".parse()?, ControllerSet::EMPTY)?;
/// let make = group.spawn(&Program::new("make"))?;
/// let before = fake.snapshot();
/// assert!(before.lives(make.pid()) && before.groups == ["job".parse()?]);
/// assert_eq!(before.living().next().unwrap().comm, "make");
/// fake.advance(Duration::from_secs(1));
/// assert_eq!(fake.snapshot().living().count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The moment.
    pub now: Time,
    /// How much work was done so far, by whomever.
    pub work: u64,
    /// The processes, zombies included, oldest first.
    pub processes: Vec<ProcessView>,
    /// The groups, in the order of their names.
    pub groups: Vec<GroupName>,
}

impl Snapshot {
    /// The processes that live.
    pub fn living(&self) -> impl Iterator<Item = &ProcessView> {
        self.processes.iter().filter(|process| !process.state.is_zombie())
    }

    /// Whether this process lives.
    pub fn lives(&self, pid: Pid) -> bool {
        self.living().any(|process| process.pid == pid)
    }
}

/// One process of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessView {
    /// Its pid.
    pub pid: Pid,
    /// Its parent's pid, 0 when that is no process of the model.
    pub parent: i32,
    /// Its command name.
    pub comm: String,
    /// Its state.
    pub state: ProcessState,
    /// The group that it is in.
    pub group: Option<GroupName>,
    /// Whether it executes: it lives, and is not killed, stopped, frozen or in state D.
    pub runs: bool,
    /// Whether it left its process group.
    pub escaped: bool,
}
