//! Where a sequence is played: a driver, and members that do what they are told, on real processes and
//! in the fake's memory alike.

mod fake;
mod real;

use std::collections::{BTreeMap, BTreeSet};

use containment_core::{CgroupOps, Member, Pid, Program};

use crate::helper::{Birth, Order};

pub(crate) use fake::FakeWorld;
pub(crate) use real::RealWorld;

/// One host, for one sequence.
pub(crate) trait World {
    /// The driver under test.
    fn driver(&self) -> &dyn CgroupOps;
    /// The program whose process is the helper `birth`.
    fn helper(&self, birth: Birth) -> Program;
    /// A program that is not there, or one that is and cannot be executed.
    fn nothing(&self, there: bool) -> Program;
    /// Takes note of a helper that was spawned.
    fn spawned(&self, birth: Birth, pid: Pid);
    /// Starts the helper `birth` in no group.
    fn start_outside(&self, birth: Birth);
    /// Tells a helper what to do. Nothing happens where it does not live.
    fn tell(&self, birth: Birth, order: Order);
    /// The helper's pid.
    fn pid(&self, birth: Birth) -> Option<Pid>;
    /// The helpers that live, and whether each has done everything that it was told by now. Those in
    /// `expected` are given a moment for it.
    fn look(&self, expected: &BTreeSet<Birth>) -> BTreeMap<Birth, bool>;
    /// Which helper this member is.
    fn who(&self, member: &Member) -> Option<Birth>;
    /// Which living helper has this pid.
    fn who_has(&self, pid: i32) -> Option<Birth>;
}
