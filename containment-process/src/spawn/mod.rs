//! The spawn engine: starts a program inside a group, before its first instruction, at the price of
//! `posix_spawn` whatever the size of this process.
//!
//! ```text
//! parent                                child (shares memory, own stack, all signals blocked)
//! prepare Image, Region                 started := 1
//! block all signals                     write "0" to the group's files      (Entry::SelfMove)
//! clone3(VM|PIDFD|…) ─────────────────► was the group killed meanwhile?     (Mark)
//! wait for the word that the kernel     process group, descriptors, rlimits, directory
//!    clears when the child has left     no new privileges, signals, mask
//! read the Region's notes ◄──────────── execve, or note the failed step and _exit
//! restore the mask
//! ```
//!
//! The child allocates nothing, takes no lock and calls nothing that is not async-signal-safe.
//!
//! The kernel does not suspend the parent as in vfork(2), but where it has to ([`Memory::Vfork`]): the parent looks
//! after a child that keeps silent, which may be stopped, or frozen with its group (the `silence` module). One that is
//! merely slow, as its file system is, is waited for, with all signals blocked in the calling thread.
//!
//! A program that changes user, has a root or binds, or is sealed, is started on a **copy** of the
//! memory instead, at the price of a fork, and the parent keeps step by messages (the `gate` module): on shared
//! memory it would be in reach of what the child's credentials open. Between descriptors and rlimits
//! stand then the mount and cgroup namespaces (the group becomes the latter's root), seal, root and
//! binds; after the rlimits, while there are privileges, the bounding set and the user; the directory is
//! entered as that user and inside that root; the seal closes last. [`Step`] lists them all in their
//! order. A step that fails ends the child; nothing is left of it, since mounts go with their namespace.

mod child;
mod clone;
mod gate;
mod identity;
mod image;
mod mounts;
mod region;
mod seal;
mod silence;
mod step;
mod sys;

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use containment_core::{FreezeState, Outcome, ProcessGroup, Program};

use crate::pidfd::{PidFd, Waited};
use crate::signals::AllBlocked;
use clone::Cloned;
use image::Image;
use region::{Notes, Region};
use silence::{Seen, Silence};

pub use seal::separates_processes;
pub use step::{Failure, Step};

/// What to start, and how it enters its group.
///
/// ```
/// use containment_core::{Outcome, Program};
/// use containment_process::pidfd::Waited;
/// use containment_process::spawn::{Entry, Launch, Memory, spawn};
///
/// let shell = Program::new("sh").args(["-c", "exit 3"]);
/// let launch = Launch {
///     program: &shell,
///     entry: Entry::Nowhere,
///     process_group: Some(0),
///     mark: None,
///     frozen: None,
///     memory: Memory::Share,
/// };
/// let process = spawn(&launch).map_err(|failure| failure.into_error(&shell))?;
/// assert_eq!(process.wait()?, Waited::Ended(Outcome::Exited(3)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Launch<'a> {
    /// The program.
    pub program: &'a Program,
    /// How it enters its group.
    pub entry: Entry<'a>,
    /// The process group to start in: ours, its own (`Some(0)`), or that of a leader.
    pub process_group: Option<i32>,
    /// The group's kill mark: when it changes while the spawn is under way, the program never runs.
    pub mark: Option<Mark<'a>>,
    /// Asked about a child that keeps silent: a group that stays frozen has it ended.
    pub frozen: Option<AskFrozen<'a>>,
    /// Whose memory the child runs on until it executes.
    pub memory: Memory,
}

impl<'a> Launch<'a> {
    /// A launch on shared memory into a cgroup, in the process group that the program asks for.
    pub fn into_cgroup(
        program: &'a Program,
        entry: Entry<'a>,
        mark: Mark<'a>,
        frozen: AskFrozen<'a>,
    ) -> Self {
        let process_group = match program.group() {
            ProcessGroup::Auto | ProcessGroup::Inherit => None,
            ProcessGroup::Lead => Some(0),
            ProcessGroup::Join(leader) => Some(leader.as_raw()),
        };
        let (mark, frozen) = (Some(mark), Some(frozen));
        Self { program, entry, process_group, mark, frozen, memory: Memory::Share }
    }
}

/// Whose memory the child runs on until it executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The parent's, where the kernel and its filters allow it, else a copy: costs the same whatever
    /// the parent's size.
    Share,
    /// The same for a child that enters a group with a memory controller of its own: the OOM killer takes whoever
    /// shares its victim's memory, but passes over who is in vfork(2). So the kernel suspends the parent, which
    /// hangs then on a child that is stopped or frozen.
    Vfork,
    /// A copy of the parent's, as by fork: costs more the larger the parent is.
    Copy,
}

/// How the new process enters its group.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    /// Not at all.
    Nowhere,
    /// It is born in the cgroup v2 directory of the first descriptor (`CLONE_INTO_CGROUP`), and moves
    /// itself into further hierarchies like [`SelfMove`](Self::SelfMove).
    Born(BorrowedFd<'a>, &'a [BorrowedFd<'a>]),
    /// It writes `0` to each of these files: a `cgroup.procs`, or a `tasks` of cgroup v1.
    SelfMove(&'a [BorrowedFd<'a>]),
}

/// A counter of kills, and its value when the spawn began.
#[derive(Debug, Clone, Copy)]
pub struct Mark<'a> {
    counter: &'a AtomicU64,
    seen: u64,
}

impl<'a> Mark<'a> {
    /// The mark as it is now.
    pub fn read(counter: &'a AtomicU64) -> Self {
        Self { counter, seen: counter.load(Ordering::SeqCst) }
    }

    /// Whether the group was killed since.
    pub fn is_stale(&self) -> bool {
        self.counter.load(Ordering::SeqCst) != self.seen
    }
}

/// Tells whether the group is frozen, or is being.
#[derive(Clone, Copy)]
pub struct AskFrozen<'a>(pub &'a dyn Fn() -> containment_core::Result<FreezeState>);

impl fmt::Debug for AskFrozen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AskFrozen")
    }
}

/// Starts the program. Returns once it was executed, or has failed to be.
///
/// A program that changes user or has mounts of its own is started on a copy of the memory, whatever
/// the launch asks for.
pub fn spawn(launch: &Launch<'_>) -> Result<PidFd, Failure> {
    let own = launch.program.isolation().needs_own_memory();
    let memory = if own { Memory::Copy } else { launch.memory };
    match start_on(memory, launch) {
        // A birth in a cgroup needs the call that is missing; the caller then lets the child move itself.
        Err(Failure::Clone(error))
            if memory != Memory::Copy
                && clone::is_missing(&error)
                && !matches!(launch.entry, Entry::Born(..)) =>
        {
            start_on(Memory::Copy, launch)
        }
        started => started,
    }
}

/// Maps the stack that the next spawn takes: whoever forks processes that are to spawn does it once for all of them.
pub fn make_ready() -> io::Result<()> {
    Region::map(Memory::Share).map(drop)
}

/// Makes the child, and sees it through until it executed or died.
fn start_on(memory: Memory, launch: &Launch<'_>) -> Result<PidFd, Failure> {
    let mut image = Image::prepare(launch.program).map_err(Failure::Prepare)?;
    let region = Region::take(memory).map_err(Failure::Prepare)?;
    let blocked = AllBlocked::new().map_err(Failure::Prepare)?;
    let mask = launch.program.mask().unwrap_or(blocked.before());
    let mut plan = child::Plan::new(&mut image, launch, region.notes(), mask);
    // SAFETY: `passenger` is dropped before anything that the child uses, whatever happens until then.
    let cloned = unsafe { clone::clone(&mut plan, launch.entry, &region, memory) };
    let Cloned { process, gate } = cloned.map_err(Failure::Clone)?;
    let passenger = Passenger { process: &process, notes: region.notes() };
    let silence = Silence::new(&process, launch.frozen);
    let seen = match gate {
        None => Ok(region.notes().await_departure(silence)),
        Some(gate) => {
            drop(blocked);
            gate.keep(silence, launch.mark)
        }
    };
    let failure = match seen {
        Ok(Seen::Left) => return verdict(&process, &region),
        Ok(Seen::Frozen) => None,
        Ok(Seen::TurnedAway) => {
            let cancelled = io::Error::from_raw_os_error(libc::ECANCELED);
            Some(Failure::Step(Step::Mark, cancelled))
        }
        Err(error) => Some(Failure::Clone(error)),
    };
    region.notes().cancel();
    if memory != Memory::Copy && !region.notes().is_aboard() {
        // It was thawed just now, and has executed, or seen that it is not to.
        return verdict(&process, &region).map_err(|failure| match failure {
            Failure::Step(Step::Mark, _) => Failure::Frozen(process.clone()),
            failure => failure,
        });
    }
    if silence::end(&process) {
        region.notes().clear_aboard();
        let Some(failure) = failure else { return Err(Failure::Frozen(process.clone())) };
        reap(&process)?;
        return Err(failure);
    }
    // It comes back to no instruction of ours, but may be on that stack for as long as it is frozen.
    std::mem::forget(passenger);
    if memory != Memory::Copy {
        std::mem::forget(region);
    }
    Err(Failure::Frozen(process.clone()))
}

/// A child that may be on our memory. What it uses stays for as long as this does.
struct Passenger<'a> {
    process: &'a PidFd,
    notes: &'a Notes,
}

impl Drop for Passenger<'_> {
    /// Somebody else's code, which is asked whether the group is frozen, may have panicked.
    fn drop(&mut self) {
        if !self.notes.is_aboard() {
            return;
        }
        if silence::end(self.process) {
            self.notes.clear_aboard();
        }
        self.notes.await_thaw();
        // Nobody else has its descriptor.
        let _ = self.process.wait();
    }
}

/// Reads off the notes what became of the child: it has executed the program, or it is dead.
fn verdict(process: &PidFd, region: &Region) -> Result<PidFd, Failure> {
    let notes = region.notes();
    if let Some(step) = Step::from_raw(notes.step()) {
        reap(process)?;
        return Err(Failure::Step(step, io::Error::from_raw_os_error(notes.errno())));
    }
    if notes.has_started() {
        return Ok(process.clone());
    }
    match reap(process)? {
        Waited::Ended(Outcome::Signaled(signal)) => Err(Failure::KilledAtBirth(Some(signal))),
        Waited::Ended(Outcome::Exited(_)) | Waited::Running | Waited::Lost => {
            Err(Failure::KilledAtBirth(None))
        }
    }
}

fn reap(process: &PidFd) -> Result<Waited, Failure> {
    process.wait().map_err(Failure::Clone)
}
