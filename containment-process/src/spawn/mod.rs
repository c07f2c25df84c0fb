//! The spawn engine: starts a program inside a group, before its first instruction, at the price of
//! `posix_spawn` whatever the size of this process.
//!
//! ```text
//! parent                                child (shares memory, own stack, all signals blocked)
//! prepare Image, Region                 started := 1
//! block all signals                     write "0" to the group's files      (Entry::SelfMove)
//! clone3(VM|VFORK|PIDFD|…) ───────────► was the group killed meanwhile?     (Mark)
//!    suspended by the kernel            process group, descriptors, directory, SIGPIPE, mask
//! read the Region's notes ◄──────────── execve, or note the failed step and _exit
//! restore the mask
//! ```
//!
//! The child allocates nothing, takes no lock and calls nothing that is not async-signal-safe.
//! Changes of user never run on shared memory; they are not offered here.

mod child;
mod clone;
mod image;
mod region;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use containment_core::{Error, ErrorKind, Operation, Outcome, Pid, ProcessGroup, Program, Signal};

use crate::pidfd::{PidFd, Waited};
use crate::signals::AllBlocked;
use clone::Cloned;
use image::Image;
use region::Region;

/// What to start, and how it enters its group.
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
    /// Whose memory the child runs on until it executes.
    pub memory: Memory,
}

impl<'a> Launch<'a> {
    /// A launch on shared memory into a cgroup, in the process group that the program asks for.
    pub fn into_cgroup(program: &'a Program, entry: Entry<'a>, mark: Mark<'a>) -> Self {
        let process_group = match program.group() {
            ProcessGroup::Auto | ProcessGroup::Inherit => None,
            ProcessGroup::Lead => Some(0),
            ProcessGroup::Join(leader) => Some(leader.as_raw()),
        };
        Self { program, entry, process_group, mark: Some(mark), memory: Memory::Share }
    }
}

/// Whose memory the child runs on until it executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The parent's, where the kernel and its filters allow it, else a copy: costs the same whatever
    /// the parent's size.
    Share,
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

/// The steps of the child that can fail, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Step {
    /// Entering the group.
    Enter = 1,
    /// Seeing that the group was killed meanwhile.
    Mark,
    /// Joining the process group.
    ProcessGroup,
    /// Setting up the standard streams and other descriptors.
    Descriptors,
    /// Changing to the directory.
    Directory,
    /// Executing the program.
    Exec,
}

impl Step {
    const ALL: [Self; 6] = [
        Self::Enter,
        Self::Mark,
        Self::ProcessGroup,
        Self::Descriptors,
        Self::Directory,
        Self::Exec,
    ];

    /// The step with this number.
    pub fn from_raw(raw: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u32 == raw)
    }
}

/// Why no program runs. Nothing is left of the child.
#[derive(Debug)]
pub enum Failure {
    /// Nothing was cloned: bad arguments, or no memory.
    Prepare(io::Error),
    /// The clone was refused.
    Clone(io::Error),
    /// The child was killed before its first instruction, by this signal.
    KilledAtBirth(Option<Signal>),
    /// A step of the child failed.
    Step(Step, io::Error),
}

impl Failure {
    /// This failure as the one error type; the caller adds backend and group.
    pub fn into_error(self, program: &Program) -> Error {
        let path = program.name();
        match self {
            Self::Prepare(error) => Error::from_io(Operation::Spawn, &error).with_path(path),
            Self::Clone(error) | Self::Step(Step::Enter, error) => {
                Error::from_io(Operation::Place, &error)
            }
            Self::KilledAtBirth(_) | Self::Step(Step::Mark, _) => {
                Error::new(ErrorKind::Killed, Operation::Spawn)
            }
            Self::Step(Step::Exec, error) => exec_error(&error).with_path(path),
            Self::Step(Step::Directory, error) => Error::from_io(Operation::Spawn, &error)
                .with_kind(ErrorKind::InvalidInput)
                .with_path(program.directory().unwrap_or(path.as_ref()))
                .because("cannot change to its directory"),
            Self::Step(Step::ProcessGroup, error) => {
                Error::from_io(Operation::Spawn, &error).because("cannot join its process group")
            }
            Self::Step(Step::Descriptors, error) => {
                Error::from_io(Operation::Spawn, &error).because("cannot set up its descriptors")
            }
        }
    }
}

fn exec_error(error: &io::Error) -> Error {
    let kind = match error.raw_os_error() {
        Some(libc::ENOENT) => ErrorKind::ProgramNotFound,
        _ => ErrorKind::ProgramNotExecutable,
    };
    Error::from_io(Operation::Spawn, error).with_kind(kind)
}

/// Starts the program. Returns once it was executed, or has failed to be.
pub fn spawn(launch: &Launch<'_>) -> Result<PidFd, Failure> {
    let mut image = Image::prepare(launch.program).map_err(Failure::Prepare)?;
    let region = Region::map().map_err(Failure::Prepare)?;
    let blocked = AllBlocked::new().map_err(Failure::Prepare)?;
    let mask = launch.program.mask().unwrap_or(blocked.before());
    let mut plan = child::Plan::new(&mut image, launch, region.notes(), mask);
    let cloned = clone::clone(&mut plan, launch, &region).map_err(Failure::Clone)?;
    drop(blocked);
    verdict(&cloned, &region)
}

/// Reads off the notes what became of the child: it has executed the program, or it is dead.
fn verdict(cloned: &Cloned, region: &Region) -> Result<PidFd, Failure> {
    let notes = region.notes();
    if let Some(step) = Step::from_raw(notes.step()) {
        reap(&cloned.process)?;
        return Err(Failure::Step(step, io::Error::from_raw_os_error(notes.errno())));
    }
    if notes.has_started() {
        return Ok(cloned.process.clone());
    }
    match reap(&cloned.process)? {
        Waited::Ended(Outcome::Signaled(signal)) => Err(Failure::KilledAtBirth(Some(signal))),
        Waited::Ended(Outcome::Exited(_)) | Waited::Running | Waited::Lost => {
            Err(Failure::KilledAtBirth(None))
        }
    }
}

fn reap(process: &PidFd) -> Result<Waited, Failure> {
    process.wait().map_err(Failure::Clone)
}

/// The pid that the kernel returned.
fn checked_pid(raw: i64) -> io::Result<Pid> {
    let pid = i32::try_from(raw).ok().and_then(Pid::new);
    pid.ok_or_else(|| io::Error::other("the kernel returned no pid"))
}
