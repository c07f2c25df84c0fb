//! The drivers that this host may have, behind one small trait so that the choice among them can be
//! tested without a host.

use std::fmt::Debug;
use std::sync::Arc;

use backend_cgroupv1::CgroupV1;
use backend_cgroupv2::CgroupV2;
use backend_pgrp::{Keeper, KeeperSpawner, ProcessGroups, Recorder};
use containment_core::{
    Backend, CgroupOps, ControllerSet, Error, ErrorKind, Measure, Operation, Result, Set,
};
use containment_process::proc::{Base, cgroup};
use containment_process::spawn::separates_processes;

use crate::hybrid::Hybrid;
use crate::scope::{self, ScopeOffer, Wanted};
use crate::selection::Systemd;
use crate::systemd::AvailableScope;

/// The backends that are tried, the strongest first. Never the fake.
pub(crate) const ORDER: [Backend; 4] =
    [Backend::CgroupV2, Backend::Hybrid, Backend::CgroupV1, Backend::ProcessGroup];

/// The order where v1 hierarchies carry controllers, which the unified hierarchy then lacks.
const HYBRID_FIRST: [Backend; 4] =
    [Backend::Hybrid, Backend::CgroupV2, Backend::CgroupV1, Backend::ProcessGroup];

/// A driver that can prove that its groups work.
pub(crate) trait Driver: CgroupOps {
    /// Makes a scratch group, puts a child into it that exits, and removes it. Of these limits, those
    /// that it offers are part of the proof.
    fn prove(&self, with: ControllerSet) -> Result<()>;

    /// What is there and would make it stronger, and why it cannot be used.
    fn lacking(&self) -> Vec<String>;
}

/// Where drivers look, and what they build on.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The groups below which groups are made.
    pub(crate) base: Base,
    /// What holds the processes of a process group together.
    pub(crate) keeper: Keeper,
    /// Who makes keepers instead of this process, and whether those outlive it.
    pub(crate) spawner: Option<(Arc<dyn KeeperSpawner>, bool)>,
    /// Who writes down what becomes of programs that are to outlive us.
    pub(crate) recorder: Option<Arc<dyn Recorder>>,
    /// The figures that groups have to show, where each has its price.
    pub(crate) figures: Set<Measure>,
    /// Whether groups keep the files of their figures open.
    pub(crate) sampling: bool,
    /// What groups had better give, and what of it they have to.
    pub(crate) wanted: Wanted,
    pub(crate) required: Wanted,
    /// Whether systemd may be asked for a place.
    pub(crate) systemd: Systemd,
}

impl Place {
    /// Below these groups and nowhere else, with nothing else asked for.
    pub(crate) fn on(base: Base) -> Self {
        Self {
            base,
            keeper: Keeper::None,
            spawner: None,
            recorder: None,
            figures: Set::EMPTY,
            sampling: false,
            wanted: Wanted::NOTHING,
            required: Wanted::NOTHING,
            systemd: Systemd::Never,
        }
    }

    /// Whether systemd may be asked for another one.
    pub(crate) fn may_ask(&self) -> bool {
        self.systemd == Systemd::Auto && self.base.parent().is_none()
    }
}

/// A driver, and the base that it was found on: our own groups may be others by then, in a scope of systemd.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) base: Base,
}

/// Finds drivers.
pub(crate) trait Host: Debug + Send + Sync {
    /// The backends to try, in their order here.
    fn order(&self, base: &Base) -> [Backend; 4];
    /// The driver of `backend`, as far as can be told without making a group. It may move this process
    /// into a scope of systemd, where the place says so.
    fn probe(&self, backend: Backend, place: &Place) -> Result<Found>;

    /// The scope that systemd would be asked for to have these figures, and more limits; none is made.
    fn scope(&self, figures: Set<Measure>) -> Result<Option<ScopeOffer>>;

    /// Whether the kernel can seal a program in.
    fn check_seal(&self) -> Result<()>;
}

/// The machine that we run on.
#[derive(Debug)]
pub(crate) struct ThisHost;

impl Host for ThisHost {
    fn order(&self, base: &Base) -> [Backend; 4] {
        // A text that cannot be read decides nothing: the probes say what is wrong.
        let text = base.memberships().unwrap_or_default();
        if v1_has_controllers(text) { HYBRID_FIRST } else { ORDER }
    }

    fn probe(&self, backend: Backend, place: &Place) -> Result<Found> {
        let base = place.base.clone();
        let driver: Arc<dyn Driver> = match backend {
            Backend::CgroupV2 => {
                let (driver, base) = scope::v2(place)?;
                return Ok(Found { driver: Arc::new(driver), base });
            }
            Backend::CgroupV1 => {
                let driver = CgroupV1::probe(base.clone())?.measuring(place.figures)?;
                Arc::new(if place.sampling { driver.sampling()? } else { driver })
            }
            Backend::ProcessGroup => process_groups(place)?,
            Backend::Hybrid => {
                let driver = Hybrid::probe(base.clone())?.measuring(place.figures);
                Arc::new(if place.sampling { driver.sampling() } else { driver })
            }
            Backend::Fake => {
                let why = "no host has it; pass it to Containment::with";
                return Err(unusable(backend, why));
            }
        };
        Ok(Found { driver, base })
    }

    fn scope(&self, figures: Set<Measure>) -> Result<Option<ScopeOffer>> {
        Ok(AvailableScope::probe(figures)?.map(ScopeOffer::from))
    }

    fn check_seal(&self) -> Result<()> {
        if separates_processes() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, Operation::Select)
            .because("this kernel does not keep processes of one user apart")
            .advise("take Linux 5.19 or later with Landlock, or accept best effort (contain run --best-effort)"))
    }
}

fn process_groups(place: &Place) -> Result<Arc<dyn Driver>> {
    let driver = ProcessGroups::probe(place.keeper)?;
    Ok(Arc::new(match (&place.spawner, &place.recorder) {
        (Some((spawner, lasting)), _) => driver.kept_by(Arc::clone(spawner), *lasting),
        (None, Some(recorder)) => driver.recorded_by(Arc::clone(recorder)),
        (None, None) => driver,
    }))
}

/// Whether v1 hierarchies carry controllers that serve limits, by the text of `/proc/self/cgroup`: a
/// controller is in one hierarchy only, so those are what the unified one lacks.
fn v1_has_controllers(memberships: &[u8]) -> bool {
    const SERVE_LIMITS: [&str; 5] = ["memory", "cpu", "cpuset", "pids", "blkio"];
    let carries = |membership: &cgroup::Membership<'_>| {
        SERVE_LIMITS.iter().any(|controller| membership.serves(controller))
    };
    cgroup::memberships(memberships).any(|membership| carries(&membership))
}

fn unusable(backend: Backend, why: &'static str) -> Error {
    Error::new(ErrorKind::Unusable, Operation::Probe).with_backend(backend).because(why)
}

impl Driver for CgroupV2 {
    fn prove(&self, _: ControllerSet) -> Result<()> {
        Self::prove(self)
    }

    fn lacking(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Driver for CgroupV1 {
    fn prove(&self, _: ControllerSet) -> Result<()> {
        Self::prove(self)
    }

    fn lacking(&self) -> Vec<String> {
        self.unusable().map(told).collect()
    }
}

/// Why something is done without, and what would mend it.
pub(crate) fn told(error: &Error) -> String {
    match error.remedy() {
        Some(remedy) => format!("{} ({remedy})", error.reason()),
        None => error.reason().to_string(),
    }
}

impl Driver for Hybrid {
    fn prove(&self, with: ControllerSet) -> Result<()> {
        Self::prove(self, with)
    }

    fn lacking(&self) -> Vec<String> {
        self.unusable().map(told).collect()
    }
}

impl Driver for ProcessGroups {
    fn prove(&self, _: ControllerSet) -> Result<()> {
        Self::prove(self)
    }

    fn lacking(&self) -> Vec<String> {
        let hidden = "/proc hides the processes of other users, so that a member that changes user is not \
                      seen (mount -o remount,hidepid=0 /proc)";
        let hides = !std::path::Path::new("/proc/1").exists();
        // The fine print of a swept group.
        let lost = "a member that left its session and cleared its environment is not found again once the \
                    supervisor and its keeper are both killed (take a cgroup backend)";
        hides.then_some(hidden).into_iter().chain([lost]).map(str::to_owned).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! A scripted host of mocked drivers.

    use containment_core::{
        Capabilities, ChildOps, Empty, Escape, Freeze, GroupId, GroupName, GroupOps, Identity,
        Kill, LeaveBy, MockCgroupOps, MockChildOps, MockGroupOps, Pid, Reaped, SystemWaiter, Usage,
        Waiter, Watch,
    };

    use super::*;

    /// What a backend does on a scripted host.
    #[derive(Debug, Clone)]
    pub(crate) enum Stage {
        Usable(Capabilities),
        Unproved(Capabilities),
        Makes(Capabilities, fn() -> Result<MockGroupOps>),
    }

    /// A host whose backends are scripted; one that is not is unusable.
    #[derive(Debug)]
    pub(crate) struct Scripted(Vec<(Backend, Stage)>);

    impl Scripted {
        pub(crate) fn new() -> Self {
            Self(Vec::new())
        }

        pub(crate) fn stage(mut self, backend: Backend, stage: Stage) -> Self {
            self.0.push((backend, stage));
            self
        }
    }

    impl Host for Scripted {
        fn order(&self, _: &Base) -> [Backend; 4] {
            ORDER
        }

        fn scope(&self, _: Set<Measure>) -> Result<Option<ScopeOffer>> {
            Ok(None)
        }

        fn check_seal(&self) -> Result<()> {
            Ok(())
        }

        fn probe(&self, backend: Backend, place: &Place) -> Result<Found> {
            let stage = self.0.iter().find(|(b, _)| *b == backend).map(|(_, stage)| stage.clone());
            let (capabilities, proves, makes) = match stage {
                Some(Stage::Usable(capabilities)) => (capabilities, true, None),
                Some(Stage::Unproved(capabilities)) => (capabilities, false, None),
                Some(Stage::Makes(capabilities, makes)) => (capabilities, true, Some(makes)),
                None => return Err(unusable(backend, "not scripted")),
            };
            let mut ops = mock_driver(backend, capabilities);
            if let Some(makes) = makes {
                ops.expect_create().returning(move |_, _| Ok(Box::new(makes()?)));
            }
            Ok(Found { driver: Arc::new(Mocked { ops, proves }), base: place.base.clone() })
        }
    }

    #[test]
    fn hybrid_goes_first_where_v1_hierarchies_carry_controllers() {
        for (text, expected) in [
            (&b"0::/\n"[..], false),
            (b"", false),
            (b"1:name=systemd:/\n0::/\n", false),
            (b"2:freezer:/\n1:devices:/a\n0::/\n", false),
            (b"3:cpu,cpuacct:/\n0::/user\n", true),
            (b"9:pids:/a/b\n0::/\n", true),
        ] {
            assert_eq!(v1_has_controllers(text), expected, "{}", text.escape_ascii());
        }
    }

    #[derive(Debug)]
    struct Mocked {
        ops: MockCgroupOps,
        proves: bool,
    }

    impl Driver for Mocked {
        fn prove(&self, _: ControllerSet) -> Result<()> {
            if self.proves { Ok(()) } else { Err(Error::from_errno(Operation::Create, 13)) }
        }

        fn lacking(&self) -> Vec<String> {
            Vec::new()
        }
    }

    impl CgroupOps for Mocked {
        fn backend(&self) -> Backend {
            self.ops.backend()
        }
        fn capabilities(&self) -> &Capabilities {
            self.ops.capabilities()
        }
        fn waiter(&self) -> Arc<dyn Waiter> {
            self.ops.waiter()
        }
        fn create(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
            self.ops.create(name, with)
        }
        fn open(&self, id: &GroupId) -> Result<Box<dyn GroupOps>> {
            self.ops.open(id)
        }
        fn list(&self) -> Result<Vec<GroupId>> {
            self.ops.list()
        }
    }

    pub(crate) fn mock_driver(backend: Backend, capabilities: Capabilities) -> MockCgroupOps {
        let mut ops = MockCgroupOps::new();
        ops.expect_backend().return_const(backend);
        ops.expect_capabilities().return_const(capabilities);
        ops.expect_waiter().returning(|| Arc::new(SystemWaiter::new()));
        ops
    }

    /// A group that is empty whenever it is looked at.
    pub(crate) fn empty_group() -> MockGroupOps {
        empty_group_with(weak())
    }

    pub(crate) fn empty_group_with(capabilities: Capabilities) -> MockGroupOps {
        let mut group = MockGroupOps::new();
        group.expect_id().return_const(GroupId {
            backend: Backend::Fake,
            name: "job".parse().unwrap(),
            identity: Identity::Serial(1),
        });
        group.expect_capabilities().return_const(capabilities);
        group.expect_program_runs().return_const(false);
        group.expect_reap().returning(|| Ok(Reaped::default()));
        group.expect_populated().returning(|| Ok(false));
        group.expect_usage().returning(|| Ok(Usage::default()));
        group.expect_watch().returning(|_| Ok(Watch::Backoff));
        group
    }

    pub(crate) fn mock_child() -> Box<dyn ChildOps> {
        let mut child = MockChildOps::new();
        // A witness is told of it.
        child.expect_pid().return_const(Pid::current());
        Box::new(child)
    }

    pub(crate) fn weak() -> Capabilities {
        Capabilities {
            kill: Kill::Repeated,
            escape: Escape::Voluntary,
            leave_by: LeaveBy::None,
            empty: Empty::Polled,
            freeze: Freeze::StopSignal,
            nesting: false,
            attach: false,
            limits: Set::EMPTY,
            usage: Set::EMPTY,
        }
    }

    pub(crate) fn strong() -> Capabilities {
        Capabilities {
            kill: Kill::Atomic,
            escape: Escape::Impossible,
            leave_by: LeaveBy::CgroupfsWrite,
            empty: Empty::Notified,
            freeze: Freeze::Kernel,
            nesting: true,
            attach: true,
            limits: Set::EMPTY.with(containment_core::Limit::Pids),
            usage: Set::EMPTY,
        }
    }
}
