//! Limits: each written to its file and read back. What the kernel keeps differently is an error.
//!
//! Formats and units: kernel, Documentation/admin-guide/cgroup-v2.rst, "Controllers".

use std::borrow::Cow;
use std::fmt::Display;

use containment_core::{
    Applied, Bytes, CpuSet, Cpus, Device, Error, ErrorKind, HugePage, IoMax, Limit, Limits, Most,
    Operation, Result, Weight,
};
use containment_process::cgroupfs::parse::{self, Parsed};
use containment_process::cgroupfs::{Dir, Failure, no_disk};
use rustix::io::Errno;

use crate::controllers::{self, Controllers};
use crate::group::V2Group;
use crate::offer;

/// The kernel rounds limits of memory down to pages, which are at most this large.
const LARGEST_PAGE: u64 = 64 << 10;

impl V2Group {
    /// Sets limits one by one; says what was applied, and what was not and why.
    pub(crate) fn apply(&self, limits: &Limits) -> Applied {
        let mut applied = Applied::default();
        for limit in limits.asked().iter() {
            let set = match self.serves(limit) {
                Ok(()) => self.apply_one(limit, limits),
                Err(error) => Err(error),
            };
            let set = set.and_then(|()| match limit {
                Limit::Cpuset | Limit::Mems => {
                    self.confined.look(&self.place.dir, &self.dir).map_err(failed)
                }
                _ => Ok(()),
            });
            match set {
                Ok(()) => applied.applied.push(limit),
                Err(error) => applied.refused.push((limit, self.error(error))),
            }
        }
        applied
    }

    /// Has the controller of a limit, or is given it now: it may have been made without.
    fn serves(&self, limit: Limit) -> Result<()> {
        let offered = self.place.offer.limits.contains(limit);
        let controller = controllers::of_limit(limit).filter(|_| offered);
        let controller = controller.ok_or_else(|| offer::lacks(limit, &self.place.offer))?;
        let has = controllers::listed(&self.dir, "cgroup.controllers").map_err(failed)?;
        if has.contains(controller) {
            Ok(())
        } else {
            self.take_on(Controllers::EMPTY.with(controller))
        }
    }

    fn apply_one(&self, limit: Limit, limits: &Limits) -> Result<()> {
        fn if_asked<T>(value: Option<T>, write: impl FnOnce(T) -> Result<()>) -> Result<()> {
            value.map_or(Ok(()), write)
        }
        let files = Files(&self.dir);
        match limit {
            Limit::Memory => if_asked(limits.memory_max, |most| files.bytes("memory.max", most)),
            Limit::MemoryHigh => {
                if_asked(limits.memory_high, |most| files.bytes("memory.high", most))
            }
            Limit::Swap => if_asked(limits.swap_max, |most| files.bytes("memory.swap.max", most)),
            Limit::Cpus => if_asked(limits.cpus, |most| files.cpus(most)),
            Limit::CpuWeight => if_asked(limits.cpu_weight, |weight| files.cpu_weight(weight)),
            Limit::Cpuset => if_asked(limits.cpuset.as_ref(), |set| files.set("cpuset.cpus", set)),
            Limit::Mems => if_asked(limits.mems.as_ref(), |set| files.set("cpuset.mems", set)),
            Limit::Pids => if_asked(limits.pids_max, |most| {
                files.write("pids.max", &most)?;
                files.check("pids.max", &most, parse::most, |kept| *kept == most)
            }),
            Limit::IoWeight => if_asked(limits.io_weight, |weight| files.io_weight(weight)),
            Limit::IoMax => {
                limits.io_max.iter().try_for_each(|(device, most)| files.io_max(*device, most))
            }
            Limit::Hugetlb => {
                limits.hugetlb.iter().try_for_each(|(pages, most)| files.hugetlb(*pages, *most))
            }
            other => Err(offer::lacks(other, &self.place.offer)),
        }
    }
}

/// The files of one group's limits.
#[derive(Clone, Copy)]
struct Files<'a>(&'a Dir);

impl Files<'_> {
    fn bytes(self, file: &str, most: Most<Bytes>) -> Result<()> {
        self.write(file, &most)?;
        self.check(file, &most, parse::most, |kept| is_rounded(*kept, most, LARGEST_PAGE))
    }

    fn cpus(self, most: Most<Cpus>) -> Result<()> {
        let quota = most.map(Cpus::quota);
        let text = match quota {
            Most::Lifted => "max".to_owned(),
            Most::At(q) => format!("{} {}", q.quota.as_micros(), q.period.as_micros()),
        };
        self.write("cpu.max", &text)?;
        self.check("cpu.max", &text, parse::cpu_max, |kept| *kept == quota)
    }

    fn cpu_weight(self, weight: Weight) -> Result<()> {
        self.write("cpu.weight", &weight)?;
        let same = |kept: &u64| *kept == u64::from(weight.get());
        self.check("cpu.weight", &weight, parse::number, same)
    }

    /// The kernel takes CPUs and nodes that the group around does not have, and then gives others: what
    /// is in effect decides, and what was there before comes back.
    fn set(self, file: &'static str, wanted: &CpuSet) -> Result<()> {
        let before = self.0.parse(file, parse::list).map_err(failed)?;
        self.write(file, wanted).map_err(|error| not_around(error, "there are not so many"))?;
        self.check(file, wanted, parse::list, |kept| kept == wanted)?;
        let effective = format!("{file}.effective");
        let in_effect = self.0.parse(&effective, parse::list).map_err(failed)?;
        if in_effect == *wanted {
            return Ok(());
        }
        // An empty list is a newline: an empty write is none.
        self.write(file, &format!("{before}\n"))?;
        let why = format!("the group around it gives {in_effect} in place of {wanted}");
        Err(not_around(self.refused(file), why))
    }

    fn io_weight(self, weight: Weight) -> Result<()> {
        let (file, value) = match offer::io_weight_file(self.0) {
            Some(file @ "io.bfq.weight") => (file, bfq_of_weight(weight)),
            _ => ("io.weight", u64::from(weight.get())),
        };
        self.write(file, &format!("default {value}"))?;
        self.check(file, &value, parse::weight, |kept| *kept == value)
    }

    fn io_max(self, device: Device, most: &IoMax) -> Result<()> {
        self.write("io.max", &format!("{device} {most}"))
            .map_err(|error| no_disk(error, device))?;
        // A device without any limit has no line.
        self.check("io.max", most, parse::io_max, |kept| {
            let kept = kept.get(&device).copied().unwrap_or_default();
            most.iter().all(|(rate, most)| kept.rate(rate).unwrap_or(Most::Lifted) == most)
        })
    }

    fn hugetlb(self, pages: HugePage, most: Most<Bytes>) -> Result<()> {
        let file = format!("hugetlb.{pages}.max");
        self.write(&file, &most).map_err(|error| match error.kind() {
            ErrorKind::Unsupported => error
                .with_kind(ErrorKind::InvalidInput)
                .because(format!("this machine has no huge pages of {pages}"))
                .advise("name a size that /sys/kernel/mm/hugepages has"),
            _ => error,
        })?;
        let same = |kept: &Most<u64>| is_rounded(*kept, most, pages.size().0);
        self.check(&file, &most, parse::most, same)
    }

    fn write(self, file: &str, value: &dyn Display) -> Result<()> {
        self.0.write(file, value.to_string()).map_err(failed)
    }

    fn check<T>(
        self,
        file: &str,
        wanted: &dyn Display,
        parse: impl FnOnce(&[u8]) -> Parsed<T>,
        same: impl FnOnce(&T) -> bool,
    ) -> Result<()> {
        let text = self.0.read(file).map_err(failed)?;
        let kept = parse(&text).ok().filter(same);
        if kept.is_some() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(text.trim_ascii()).into_owned();
        Err(self
            .refused(file)
            .because(format!("the kernel keeps {text:?} in place of {wanted}"))
            .advise("give a value that the kernel keeps as it is"))
    }

    fn refused(self, file: &str) -> Error {
        Error::new(ErrorKind::System, Operation::SetLimits).with_path(self.0.path().join(file))
    }
}

fn failed(failure: Failure) -> Error {
    failure.during(Operation::SetLimits)
}

/// The weight of BFQ, 1 to 1000 with the same default: each half of the range stretched by itself, as by
/// systemd (src/core/cgroup.c, `BFQ_WEIGHT`).
fn bfq_of_weight(weight: Weight) -> u64 {
    match u64::from(weight.get()) {
        weight @ 0..=100 => weight,
        weight => 100 + (weight - 100) * 900 / 9_900,
    }
}

/// Whether a value is the one that was written, rounded down by less than a `unit`.
fn is_rounded(kept: Most<u64>, wanted: Most<Bytes>, unit: u64) -> bool {
    match (kept, wanted) {
        (Most::Lifted, Most::Lifted) => true,
        (Most::At(kept), Most::At(Bytes(wanted))) => kept <= wanted && wanted - kept < unit,
        // More than the kernel counts to is no limit.
        (Most::Lifted, Most::At(Bytes(wanted))) => wanted >= i64::MAX as u64 - LARGEST_PAGE,
        (Most::At(_), Most::Lifted) => false,
    }
}

/// CPUs or nodes that the group around does not have.
fn not_around(error: Error, why: impl Into<Cow<'static, str>>) -> Error {
    let errno = error.errno().map(Errno::from_raw_os_error);
    if !matches!(errno, None | Some(Errno::INVAL | Errno::RANGE | Errno::NODEV)) {
        return error;
    }
    error
        .with_kind(ErrorKind::InvalidInput)
        .because(why)
        .advise("ask for no more than the group around it has")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_bfq_keep_their_default() {
        let weights = [1, 50, 100, 5_050, 10_000].map(|weight| Weight::new(weight).unwrap());
        assert_eq!(weights.map(bfq_of_weight), [1, 50, 100, 550, 1_000]);
    }

    #[test]
    fn a_value_may_be_rounded_down_by_less_than_a_page() {
        let cases = [
            (Most::At(4096), Most::At(Bytes(5000)), true),
            (Most::At(4096), Most::At(Bytes(4096 + LARGEST_PAGE)), false),
            (Most::At(5000), Most::At(Bytes(4096)), false),
            (Most::Lifted, Most::Lifted, true),
            (Most::Lifted, Most::At(Bytes(4096)), false),
            (Most::At(0), Most::Lifted, false),
            (Most::Lifted, Most::At(Bytes(u64::MAX)), true),
        ];
        for (kept, wanted, same) in cases {
            assert_eq!(is_rounded(kept, wanted, LARGEST_PAGE), same, "{kept} for {wanted}");
        }
    }
}
