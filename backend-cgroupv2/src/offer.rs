//! Which limits and figures groups have here: by the controllers that the parent group has and can hand
//! down, and by the files that they bring.

use containment_core::{Element, Error, ErrorKind, Limit, Measure, Operation, Set};
use containment_process::cgroupfs::parse::pressure;
use containment_process::cgroupfs::{Dir, Failure, Texts};

use crate::controllers::{self, Controller, Controllers, SUBTREE, is_root};
use crate::kernel::Kernel;
use crate::leaf;

/// What the parent group has to offer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// Controllers that can be handed down, those that are already among them.
    pub(crate) controllers: Controllers,
    /// Controllers that the parent group has and cannot hand down as it is.
    pub(crate) withheld: Controllers,
    /// Those that are handed down already: every group has them.
    pub(crate) everywhere: Controllers,
    pub(crate) limits: Set<Limit>,
    /// Whether this kernel accounts for waiting.
    pub(crate) pressure: bool,
    kernel: Kernel,
}

impl Offer {
    /// Looks at the parent group; `named` says that it was named to us.
    pub(crate) fn of(dir: &Dir, named: bool, kernel: Kernel) -> Result<Self, Failure> {
        let everywhere = controllers::listed(dir, SUBTREE)?;
        let has = controllers::listed(dir, "cgroup.controllers")?;
        let all = if can_hand_down(dir, named)? { has } else { everywhere };
        let withheld = has.iter().filter(|one| !all.contains(*one)).collect();
        let limits = Limit::ALL.iter().copied();
        let served =
            |limit: &Limit| controllers::of_limit(*limit).is_some_and(|one| all.contains(one));
        let limits =
            limits.filter(|limit| served(limit) && has_file(dir, *limit, kernel)).collect();
        let pressure = matches!(dir.figure("cpu.pressure", pressure), Ok(Some(Some(_))));
        Ok(Self { controllers: all, withheld, everywhere, limits, pressure, kernel })
    }

    /// The figures that groups will show which are given these controllers.
    pub(crate) fn figures(&self, has: Controllers) -> Set<Measure> {
        self.shown(has, |figure| match figure {
            Measure::MemoryPeak => self.kernel.has_memory_peak,
            Measure::Swap => self.kernel.has_swap,
            _ => true,
        })
    }

    /// The figures that a group shows, by the files that it has.
    pub(crate) fn figures_of(&self, dir: &Dir, has: Controllers) -> Set<Measure> {
        self.shown(has, |figure| figure_file(figure).is_none_or(|file| dir.exists(file)))
    }

    fn shown(&self, has: Controllers, has_file: impl Fn(Measure) -> bool) -> Set<Measure> {
        let is_shown = |figure: &Measure| match figure {
            // The kernel counts it for every group.
            Measure::Cpu => true,
            Measure::Pressure => self.pressure,
            other => {
                controllers::of_figure(*other).is_some_and(|one| has.contains(one))
                    && has_file(*other)
            }
        };
        Measure::ALL.iter().copied().filter(is_shown).collect()
    }
}

fn can_hand_down(dir: &Dir, named: bool) -> Result<bool, Failure> {
    let writable = rustix::fs::accessat(
        dir,
        SUBTREE,
        rustix::fs::Access::WRITE_OK,
        rustix::fs::AtFlags::EACCESS,
    );
    if writable.is_err() {
        return Ok(false);
    }
    Ok(is_root(dir) || dir.pids("cgroup.procs")?.is_empty() || leaf::may_step_aside(dir, named)?)
}

/// Whether groups will have a limit's file. The parent's own files tell, as it has the same controllers;
/// but for the hierarchy's root, which has none of its own.
fn has_file(dir: &Dir, limit: Limit, kernel: Kernel) -> bool {
    match (limit, is_root(dir)) {
        (Limit::Swap, true) => kernel.has_swap,
        (Limit::Swap, false) => dir.exists("memory.swap.max"),
        // Of the cost model, or of BFQ in a group that there is.
        (Limit::IoWeight, true) => dir.exists("io.cost.qos") || a_child_weighs_io(dir),
        (Limit::IoWeight, false) => io_weight_file(dir).is_some(),
        (Limit::IoMax, false) => dir.exists("io.max"),
        _ => true,
    }
}

fn a_child_weighs_io(dir: &Dir) -> bool {
    let names = dir.subdirectories().unwrap_or_default();
    let mut children = names.iter().filter_map(|name| dir.open_beneath(name).ok());
    children.any(|child| io_weight_file(&child).is_some())
}

/// The file of the I/O weight: of the cost model, or of BFQ.
pub(crate) fn io_weight_file(dir: &Dir) -> Option<&'static str> {
    ["io.weight", "io.bfq.weight"].into_iter().find(|file| dir.exists(file))
}

/// The file of a figure that kernels lack, though they have its controller.
fn figure_file(figure: Measure) -> Option<&'static str> {
    match figure {
        Measure::MemoryPeak => Some("memory.peak"),
        Measure::Swap => Some("memory.swap.current"),
        _ => None,
    }
}

/// The error for a limit that a group does not have.
pub(crate) fn lacks(limit: Limit, offer: &Offer) -> Error {
    let error = Error::new(ErrorKind::Unsupported, Operation::SetLimits);
    let controller = controllers::of_limit(limit);
    match controller {
        Some(Controller::Io) if offer.controllers.contains(Controller::Io) => error
            .because("no I/O scheduler or cost model of this kernel applies it")
            .advise("leave the limit out"),
        Some(one) if offer.withheld.contains(one) => error
            .because(format!(
                "the limit {limit} takes a parent group that is ours to arrange, and this one holds processes"
            ))
            .advise(controllers::REMEDY),
        Some(one) => error
            .because(format!(
                "the limit {limit} needs the controller {one}, which cannot be handed down to groups here"
            ))
            .advise("enable it in cgroup.subtree_control of the parent group, or take a backend that has it"),
        None => error
            .because("cgroup v2 does not have this limit")
            .advise("leave the limit out"),
    }
}
