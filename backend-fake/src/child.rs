//! A spawned program of the fake.

use containment_core::{ChildOps, Operation, Outcome, Pid, Result, Signal, Watch};

use crate::Fake;
use crate::record::SentSignal;
use crate::world::{Birth, Trigger};

#[derive(Debug)]
pub(crate) struct FakeChild {
    pub(crate) fake: Fake,
    pub(crate) birth: Birth,
    pub(crate) pid: Pid,
}

impl ChildOps for FakeChild {
    fn pid(&self) -> Pid {
        self.pid
    }

    fn try_wait(&self) -> Result<Option<Outcome>> {
        self.fake.call("try_wait", Operation::Wait, None, |world| {
            if !world.is_leader(self.birth) {
                world.reap(self.birth);
            }
            Ok(world.outcome(self.birth))
        })
    }

    fn watch(&self) -> Result<Watch> {
        self.fake.call("watch_child", Operation::Watch, None, |world| {
            Ok(Watch::Virtual(world.watch(Trigger::Ended(self.birth))))
        })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.fake.call("signal_child", Operation::Signal, None, |world| {
            if world.is_alive(self.birth) {
                let record = SentSignal { at: world.now, pid: self.pid, signal, to_member: true };
                world.signals.push(record);
                world.send(self.birth, signal);
            }
            Ok(())
        })
    }
}
