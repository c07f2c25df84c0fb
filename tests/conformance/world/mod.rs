//! Where a case plays: a driver, and what makes the same program run on real processes and in the
//! fake's memory.

mod fake;
mod real;

use containment_core::{CgroupOps, Member, Pid, Program};

pub(crate) use fake::FakeWorld;
pub(crate) use real::RealWorld;

/// How a program behaves. What it starts sleeps for ever, if nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Exits with this status.
    Exits(i32),
    /// Sleeps for ever, and dies of whatever signal it gets.
    Sleeps,
    /// Starts so many children, and sleeps.
    Forks(u32),
    /// Starts so many children, and exits with 0.
    Leaves(u32),
    /// Starts a daemon in a session of its own, and exits with 0.
    Daemonises,
    /// Starts a child that starts a child and exits; and exits with 0.
    ForksTwice,
    /// Ignores SIGTERM, works once when it does, and sleeps.
    IgnoresTerm,
    /// Works, starts itself anew in a child, and exits, every few milliseconds.
    Respawns,
    /// Sends SIGSTOP to itself.
    StopsItself,
    /// Works every few milliseconds.
    Works,
    /// Works once and exits with this status.
    WorksOnce(i32),
    /// Waits for a child that sleeps, and would work when that had ended.
    GoesOn,
    /// Uses as much CPU time as it can get.
    Spins,
    /// Takes so many bytes of memory, and exits with 0 once it has them.
    Allocates(u64),
    /// There is no such program.
    IsMissing,
    /// There is one that cannot be executed.
    IsNotExecutable,
}

/// One process for certain: a pid that is used again has another start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) pid: Pid,
    /// In clock ticks since boot; the fake never uses a pid again.
    pub(crate) started: u64,
}

impl From<&Member> for Known {
    fn from(member: &Member) -> Self {
        Self { pid: member.pid, started: member.started }
    }
}

/// One host, for one case.
pub(crate) trait World {
    /// The driver under test.
    fn driver(&self) -> &dyn CgroupOps;
    /// A program that does this.
    fn program(&self, deed: Deed) -> Program;
    /// A process that sleeps in no group. It ends with the world.
    fn outsider(&self) -> Known;
    /// The daemon that a program has started, once it is in its session.
    fn daemon(&self) -> Option<Known>;
    /// How much work programs have done.
    fn work(&self) -> u64;
    /// Whether this process lives.
    fn lives(&self, process: Known) -> bool;
    /// Whether there is anything left of it: it lives, or is a zombie.
    fn exists(&self, process: Known) -> bool;
    /// Ends a process that the group did not end, and reaps it if it is ours.
    fn end(&self, process: Known);
}
