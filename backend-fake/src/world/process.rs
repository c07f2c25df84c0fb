//! One process of the model.

use std::collections::VecDeque;

use containment_core::{Outcome, Pid, ProcessState, Signal, SignalSet, Time};

use super::OUTSIDE;
use crate::script::{Action, Script};

/// The how-manieth process of the world it is: never used twice, as a start time is on a real host.
pub(crate) type Birth = u64;

/// One open group: several may be of the same group, and each knows its own programs only.
pub(crate) type Handle = u64;

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) parent: Option<Birth>,
    pub(crate) comm: String,
    /// The generation of the group that it is in, [`OUTSIDE`] for none of ours.
    pub(crate) node: u64,
    /// The handle that it was spawned through, if it was: then it is that one's to reap.
    pub(crate) starter: Option<Handle>,
    /// Whether it left its process group, itself or by an ancestor.
    pub(crate) escaped: bool,
    pub(crate) stopped: bool,
    pub(crate) uninterruptible: bool,
    /// Since when it ought to be dead, and of what, if it was killed.
    pub(crate) killed: Option<(Time, Signal)>,
    /// Signals that wait until it can run.
    pub(crate) pending: SignalSet,
    pub(crate) ended: Option<Outcome>,
    pub(crate) memory: u64,
    pub(crate) dodges: u32,
    pub(crate) script: Script,
    /// What fell due while it could not run.
    pub(crate) deferred: VecDeque<Action>,
}

impl Process {
    /// A process that is no child of anybody in the model.
    pub(crate) fn outside() -> Self {
        Self {
            pid: Pid::current(),
            parent: None,
            comm: String::new(),
            node: OUTSIDE,
            starter: None,
            escaped: false,
            stopped: false,
            uninterruptible: false,
            killed: None,
            pending: SignalSet::default(),
            ended: None,
            memory: 0,
            dodges: 0,
            script: Script::new(),
            deferred: VecDeque::new(),
        }
    }

    pub(crate) fn program(node: u64, name: &str, starter: Handle) -> Self {
        Self { comm: name.to_owned(), node, starter: Some(starter), ..Self::outside() }
    }

    pub(crate) fn child_of(parent: &Self, birth: Birth) -> Self {
        Self {
            parent: Some(birth),
            comm: parent.comm.clone(),
            node: parent.node,
            escaped: parent.escaped,
            ..Self::outside()
        }
    }

    /// Whether it was spawned through the driver.
    pub(crate) fn is_program(&self) -> bool {
        self.starter.is_some()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    pub(crate) fn state(&self) -> ProcessState {
        ProcessState(match () {
            () if self.ended.is_some() => 'Z',
            () if self.uninterruptible => 'D',
            () if self.stopped => 'T',
            () => 'S',
        })
    }
}
