//! The backends that the fake can be, and what each guarantees.

use containment_core::{
    Capabilities, Element, Empty, Escape, Freeze, Kill, LeaveBy, Limit, Measure, Set,
};

/// A backend that is modelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Persona {
    /// The unified hierarchy.
    V2,
    /// The unified hierarchy before `cgroup.kill` (Linux 5.14).
    V2WithoutKill,
    /// Hierarchies of cgroup version 1.
    V1,
    /// Version 2 for process control, version 1 for limits.
    Hybrid,
    /// Process groups with a keeper.
    ProcessGroup,
    /// Process groups held by their leader: who leaves one is lost.
    ProcessGroupWithoutKeeper,
}

impl Persona {
    /// Those that lose no process: all but process groups without a keeper.
    pub const ALL: [Self; 5] =
        [Self::V2, Self::V2WithoutKill, Self::V1, Self::Hybrid, Self::ProcessGroup];

    pub(crate) fn capabilities(self) -> Capabilities {
        let cgroups = !self.is_process_group();
        Capabilities {
            kill: self.kill(),
            escape: self.escape(),
            leave_by: if cgroups { LeaveBy::CgroupfsWrite } else { LeaveBy::None },
            empty: Empty::Notified,
            freeze: if cgroups { Freeze::Kernel } else { Freeze::StopSignal },
            nesting: cgroups,
            attach: cgroups,
            limits: self.limits(),
            usage: self.usage(),
        }
    }

    fn escape(self) -> Escape {
        match self {
            Self::ProcessGroup => Escape::Swept,
            Self::ProcessGroupWithoutKeeper => Escape::Voluntary,
            Self::V2 | Self::V2WithoutKill | Self::V1 | Self::Hybrid => Escape::Impossible,
        }
    }

    fn kill(self) -> Kill {
        match self {
            Self::V2 | Self::Hybrid => Kill::Atomic,
            Self::V2WithoutKill => Kill::Frozen { thaw_after: false },
            Self::V1 => Kill::Frozen { thaw_after: true },
            Self::ProcessGroup | Self::ProcessGroupWithoutKeeper => Kill::Repeated,
        }
    }

    fn limits(self) -> Set<Limit> {
        let all = Limit::ALL.iter().copied();
        match self {
            Self::V2 | Self::V2WithoutKill => all.collect(),
            // Version 1 has no counterpart of `memory.high`.
            Self::V1 | Self::Hybrid => all.filter(|limit| *limit != Limit::MemoryHigh).collect(),
            Self::ProcessGroup | Self::ProcessGroupWithoutKeeper => Set::EMPTY,
        }
    }

    fn usage(self) -> Set<Measure> {
        let now = Set::EMPTY.with(Measure::Memory).with(Measure::Pids);
        // Nobody keeps a peak, or counts what was killed, of processes that are in no cgroup.
        if self.is_process_group() { now } else { now.with(Measure::MemoryPeak).with(Measure::Oom) }
    }

    /// Whether it is a variant of process groups.
    pub(crate) fn is_process_group(self) -> bool {
        matches!(self, Self::ProcessGroup | Self::ProcessGroupWithoutKeeper)
    }

    /// Whether `cgroup.events` announces emptiness and freezing.
    pub(crate) fn has_events(self) -> bool {
        matches!(self, Self::V2 | Self::V2WithoutKill | Self::Hybrid)
    }

    /// Whether a group that holds processes may not hand controllers to its sub-groups (kernel:
    /// cgroup-v2.rst, "No Internal Process Constraint").
    pub(crate) fn no_internal_processes(self) -> bool {
        matches!(self, Self::V2 | Self::V2WithoutKill)
    }
}
