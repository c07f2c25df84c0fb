//! Who makes keepers, and who writes down what becomes of their programs: both may be somebody else than
//! the process that uses the group.

use std::fmt::Debug;
use std::io::PipeWriter;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use containment_core::{GroupId, Outcome, Pid, Program, Result};
use containment_process::pidfd::PidFd;

/// What a keeper is to keep.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The program that it starts.
    pub program: &'a Program,
    /// The process group to start it in: its own (0), or another one of the session.
    pub process_group: i32,
    /// The group that it is started for.
    pub group: &'a GroupId,
    /// Whether the group is to outlive the supervisor from the first.
    pub lasting: bool,
}

/// Makes keepers for a process that cannot be forked: one that has threads, or children of its own.
pub trait KeeperSpawner: Debug + Send + Sync {
    /// Has a keeper made that tells over `pipe`.
    ///
    /// # Errors
    /// [`KeeperLost`](containment_core::ErrorKind::KeeperLost) when whoever makes keepers ended before it
    /// answered; why it made none.
    fn spawn_keeper(&self, order: &Order<'_>, pipe: PipeWriter) -> Result<PidFd>;

    /// Who adopts what a lost keeper leaves.
    fn sub_reaper(&self) -> Pid;

    /// The keepers that live, those of other groups too: what descends from them is theirs.
    fn keepers(&self) -> Vec<Pid>;
}

/// Writes down, in a keeper, what becomes of the program, so that it is known whatever becomes of
/// everybody else.
pub trait Recorder: Debug + Send + Sync {
    /// The program runs.
    fn started(&self, group: &GroupId, program: Pid);

    /// The program ended, and was not reaped yet.
    fn ended(&self, group: &GroupId, program: Pid, outcome: Outcome);

    /// The descriptors that this takes.
    fn handles(&self) -> Vec<BorrowedFd<'_>>;
}

/// Who makes the keepers of a group.
#[derive(Debug, Clone)]
pub(crate) enum KeeperSource {
    /// This process, by forks; it adopts what a lost one kept, and has no other children.
    Own(Option<Arc<dyn Recorder>>),
    /// Somebody else.
    Other(Arc<dyn KeeperSpawner>),
}
