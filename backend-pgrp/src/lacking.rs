//! What no tree of processes can do, whoever holds it together: answered once, and for certain.

use containment_core::{Error, Operation, Result};

use crate::unsupported;

/// A group that is nothing but processes.
pub(crate) trait OfProcesses {
    /// Refuses once it was removed.
    fn present(&self, operation: Operation) -> Result<()>;

    /// An error with what it is about.
    fn describe(&self, error: Error) -> Error;

    /// That it cannot be done.
    fn lacks<T>(&self, operation: Operation) -> Result<T> {
        self.present(operation)?;
        Err(self.describe(unsupported(operation)))
    }
}

/// The methods of `GroupOps` by which an [`OfProcesses`] says so.
macro_rules! lacking {
    () => {
        /// Nothing that the kernel keeps: the program carries a mark in its environment instead.
        fn leave_mark(&self, _: &str) -> containment_core::Result<bool> {
            use containment_core::Operation::Register;
            crate::lacking::OfProcesses::present(self, Register).map(|()| false)
        }

        fn mark(&self) -> containment_core::Result<Option<String>> {
            use containment_core::Operation::Register;
            crate::lacking::OfProcesses::present(self, Register).map(|()| None)
        }

        fn attach(&self, _: containment_core::Pid) -> containment_core::Result<()> {
            crate::lacking::OfProcesses::lacks(self, containment_core::Operation::Attach)
        }

        fn home(&self) -> containment_core::Result<Box<dyn containment_core::HomeOps>> {
            crate::lacking::OfProcesses::lacks(self, containment_core::Operation::Attach)
        }

        fn subgroup(
            &self,
            _: &containment_core::GroupName,
            _: containment_core::ControllerSet,
        ) -> containment_core::Result<Box<dyn containment_core::GroupOps>> {
            crate::lacking::OfProcesses::lacks(self, containment_core::Operation::Create)
        }

        fn subgroups(&self) -> containment_core::Result<Vec<Box<dyn containment_core::GroupOps>>> {
            let present =
                crate::lacking::OfProcesses::present(self, containment_core::Operation::List);
            present.map(|()| Vec::new())
        }

        fn set_limits(
            &self,
            limits: &containment_core::Limits,
        ) -> containment_core::Result<containment_core::Applied> {
            use crate::lacking::OfProcesses as _;
            let operation = containment_core::Operation::SetLimits;
            self.present(operation)?;
            let refuse = |limit| (limit, self.describe(crate::unsupported(operation)));
            let refused = limits.asked().iter().map(refuse).collect();
            Ok(containment_core::Applied { applied: Vec::new(), refused })
        }

        fn oom_kills(&self) -> containment_core::Result<u64> {
            crate::lacking::OfProcesses::lacks(self, containment_core::Operation::Usage)
        }
    };
}
pub(crate) use lacking;

/// The methods of `GroupOps` by which an [`OfProcesses`] says that nothing is started in it.
macro_rules! starts_nothing {
    () => {
        fn spawn(
            &self,
            _: &containment_core::Program,
        ) -> containment_core::Result<Box<dyn containment_core::ChildOps>> {
            crate::lacking::OfProcesses::lacks(self, containment_core::Operation::Spawn)
        }

        fn program_runs(&self) -> bool {
            false
        }
    };
}
pub(crate) use starts_nothing;
