//! Which controller serves which limit and which figure, and what the mounted hierarchies offer.

use containment_core::{Element, Error, ErrorKind, Limit, Measure, Operation, Set};
use containment_process::cgroupfs::Dir;

use crate::host::{Index, Place};

/// The controller of a limit; `None` where version 1 has none.
pub(crate) fn controller_of(limit: Limit) -> Option<&'static str> {
    Some(match limit {
        Limit::Memory | Limit::Swap => "memory",
        Limit::Cpus | Limit::CpuWeight => "cpu",
        Limit::Cpuset | Limit::Mems => "cpuset",
        Limit::Pids => "pids",
        Limit::IoWeight | Limit::IoMax => "blkio",
        Limit::Hugetlb => "hugetlb",
        // The soft limit is no counterpart: it acts only when the whole host is short of memory.
        _ => return None,
    })
}

/// The controllers that a figure is read from.
pub(crate) fn measured_by(figure: Measure) -> &'static [&'static str] {
    match figure {
        Measure::Cpu => &["cpuacct"],
        Measure::Throttling => &["cpu"],
        Measure::Memory | Measure::MemoryPeak | Measure::Swap | Measure::Oom => &["memory"],
        Measure::Pids => &["pids"],
        Measure::Io => &["blkio"],
        _ => &[],
    }
}

/// The figures that groups in these hierarchies show.
pub(crate) fn figures(place: &Place, joined: &[Index]) -> Set<Measure> {
    let carried =
        |controller: &&str| place.serving(controller).is_some_and(|i| joined.contains(&i));
    let measured = |figure: &Measure| {
        let by = measured_by(*figure);
        !by.is_empty() && by.iter().all(carried)
    };
    Measure::ALL.iter().copied().filter(measured).collect()
}

/// The limits that the usable hierarchies offer, by the files that they have.
pub(crate) fn limits(place: &Place) -> Set<Limit> {
    let offered = |limit: &Limit| {
        let index = controller_of(*limit).and_then(|controller| place.serving(controller));
        index.is_some_and(|index| offers(&place.hierarchies[index].dir, *limit))
    };
    let offered = Limit::ALL.iter().copied().filter(offered);
    if cfg!(feature = "limits") { offered.collect() } else { Set::EMPTY }
}

fn offers(dir: &Dir, limit: Limit) -> bool {
    match limit {
        Limit::Swap => dir.exists("memory.memsw.limit_in_bytes"),
        Limit::Cpus => dir.exists("cpu.cfs_quota_us"),
        Limit::IoWeight => weighs_io(dir),
        Limit::IoMax => dir.exists("blkio.throttle.read_bps_device"),
        _ => true,
    }
}

/// The file of the I/O weight: of CFQ before Linux 5.0, of BFQ since.
pub(crate) fn io_weight_file(dir: &Dir) -> Option<&'static str> {
    ["blkio.weight", "blkio.bfq.weight"].into_iter().find(|file| dir.exists(file))
}

/// Whether an I/O scheduler weighs groups. In place of the hierarchy's root, which has no weight of its
/// own, its other files tell: those that only these schedulers make.
fn weighs_io(dir: &Dir) -> bool {
    let at_the_root = ["blkio.leaf_weight", "blkio.bfq.io_service_bytes"];
    io_weight_file(dir).is_some() || at_the_root.iter().any(|file| dir.exists(file))
}

/// The error for a limit that is not offered.
pub(crate) fn unsupported(limit: Limit) -> Error {
    let error = Error::new(ErrorKind::Unsupported, Operation::SetLimits);
    match limit {
        Limit::MemoryHigh => error
            .because("cgroup v1 has no limit above which members are slowed down")
            .advise("use a hard memory limit, or leave this one out"),
        _ => error
            .because(format!("no usable hierarchy offers the limit {limit}"))
            .advise("mount the hierarchy of its controller, or leave the limit out"),
    }
}
