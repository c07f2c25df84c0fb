//! The fake as a world: helpers are scripts that are told what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backend_fake::{Fake, ProcessView, Script};
use containment_core::{CgroupOps, Member, Pid, Program, Signal};

use super::World;
use crate::helper::{Birth, Order};

/// A host in memory. Helpers are called by their numbers.
#[derive(Debug)]
pub(crate) struct FakeWorld(pub(crate) Fake);

/// Long enough for whatever was begun to come to its end.
const SETTLING: Duration = Duration::from_millis(10);
const NOW: Duration = Duration::ZERO;

impl World for FakeWorld {
    fn driver(&self) -> &dyn CgroupOps {
        &self.0
    }

    fn helper(&self, birth: Birth) -> Program {
        self.0.program(birth.to_string(), Script::new());
        Program::new(birth.to_string())
    }

    fn nothing(&self, there: bool) -> Program {
        if there {
            self.0.program("not-executable", Script::new().not_executable());
        }
        Program::new(if there { "not-executable" } else { "none" })
    }

    fn spawned(&self, _: Birth, _: Pid) {}

    fn start_outside(&self, birth: Birth) {
        self.0.start_outside(named(birth));
    }

    fn tell(&self, birth: Birth, order: Order) {
        let script = match order {
            Order::Answer => Script::new(),
            Order::Fork(child) => Script::new().forks(NOW, named(child)),
            Order::Daemonise(daemon) => {
                let middle = Script::new().named("middle").detached();
                Script::new().forks(NOW, middle.forks(NOW, named(daemon)).exits(NOW, 0))
            }
            Order::Exit(status) => Script::new().exits(NOW, status.into()),
            Order::LeaveSession => Script::new().detached(),
            Order::IgnoreTerm => Script::new().ignores(Signal::TERM),
            Order::StopItself => Script::new().stops_itself(NOW),
        };
        if let Some(pid) = self.pid(birth) {
            self.0.tell(pid, script);
        }
    }

    fn pid(&self, birth: Birth) -> Option<Pid> {
        let snapshot = self.0.snapshot();
        snapshot.living().find(|process| number(&process.comm) == Some(birth)).map(|p| p.pid)
    }

    /// Whatever happens by itself has happened before.
    fn look(&self, _: &BTreeSet<Birth>) -> BTreeMap<Birth, bool> {
        self.0.advance(SETTLING);
        let helper = |process: &ProcessView| Some((number(&process.comm)?, process.runs));
        self.0.snapshot().living().filter_map(helper).collect()
    }

    fn who(&self, member: &Member) -> Option<Birth> {
        number(&member.comm)
    }

    fn who_has(&self, pid: i32) -> Option<Birth> {
        let snapshot = self.0.snapshot();
        let mut living = snapshot.living();
        living.find(|process| process.pid.as_raw() == pid).and_then(|p| number(&p.comm))
    }
}

fn named(birth: Birth) -> Script {
    Script::new().named(&birth.to_string())
}

fn number(comm: &str) -> Option<Birth> {
    comm.parse().ok()
}
