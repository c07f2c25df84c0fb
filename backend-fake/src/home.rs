//! Where the caller was before it was moved into a group of the fake.

use containment_core::{HomeOps, Operation, Pid, Result};

use crate::Fake;

#[derive(Debug)]
pub(crate) struct FakeHome {
    pub(crate) fake: Fake,
    /// The generation of the group.
    pub(crate) node: u64,
}

impl HomeOps for FakeHome {
    fn take_back(&self, pid: Pid) -> Result<()> {
        let home = Some(self.node);
        self.fake.call_on("take_back", Operation::Attach, None, home, |world| {
            world.move_to(pid, self.node)
        })
    }
}
