//! The fake as a world: programs are scripts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backend_fake::{Fake, Script};
use containment_core::{CgroupOps, Program, Signal};

use super::{Deed, Known, World};

/// A host in memory.
pub(crate) struct FakeWorld {
    fake: Fake,
    programs: AtomicU32,
}

/// The period of whatever a program does again and again.
const PERIOD: Duration = Duration::from_millis(3);

impl FakeWorld {
    pub(crate) fn new(fake: Fake) -> Self {
        Self { fake, programs: AtomicU32::new(0) }
    }
}

impl World for FakeWorld {
    fn driver(&self) -> &dyn CgroupOps {
        &self.fake
    }

    fn program(&self, deed: Deed) -> Program {
        let name = format!("program-{}", self.programs.fetch_add(1, Ordering::Relaxed));
        if let Some(script) = script(deed) {
            self.fake.program(&name, script);
        }
        Program::new(name)
    }

    fn outsider(&self) -> Known {
        Known { pid: self.fake.start_outside(Script::new()), started: 0 }
    }

    fn daemon(&self) -> Option<Known> {
        let snapshot = self.fake.snapshot();
        let daemon = snapshot.living().find(|process| process.escaped);
        daemon.map(|daemon| Known { pid: daemon.pid, started: 0 })
    }

    fn work(&self) -> u64 {
        self.fake.snapshot().work
    }

    fn lives(&self, process: Known) -> bool {
        self.fake.snapshot().lives(process.pid)
    }

    fn exists(&self, process: Known) -> bool {
        self.fake.snapshot().processes.iter().any(|p| p.pid == process.pid)
    }

    /// It ends with the memory that it is in.
    fn end(&self, _: Known) {}
}

/// What the program does; `None` when there is no program.
fn script(deed: Deed) -> Option<Script> {
    let start = Duration::ZERO;
    // A program is executed before its end is seen.
    let soon = Duration::from_millis(1);
    let script = Script::new();
    let with_children = |children: u32| {
        (0..children).fold(Script::new(), |script, _| script.forks(start, Script::new()))
    };
    Some(match deed {
        Deed::Exits(status) => script.exits(soon, status),
        // No CPU time in there: nobody advertises to measure it.
        Deed::Sleeps | Deed::Spins => script,
        Deed::Forks(children) => with_children(children),
        Deed::Leaves(children) => with_children(children).exits(soon, 0),
        Deed::Daemonises => script.daemonises(soon, Script::new()),
        Deed::ForksTwice => {
            let child = Script::new().forks(start, Script::new()).exits(soon, 0);
            script.forks(start, child).exits(soon, 0)
        }
        Deed::IgnoresTerm => script.ignores(Signal::TERM).works(start),
        Deed::Respawns => script.works(start).respawns(PERIOD),
        Deed::StopsItself => script.stops_itself(soon),
        Deed::Works => script.works_every(PERIOD),
        Deed::WorksOnce(status) => script.works(soon).exits(soon, status),
        Deed::GoesOn => with_children(1).works_after_a_child(),
        Deed::Allocates(bytes) => script.allocates(soon, bytes).exits(PERIOD, 0),
        Deed::IsMissing => return None,
        Deed::IsNotExecutable => script.not_executable(),
    })
}
