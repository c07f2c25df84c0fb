//! What this kernel gives groups, told before there is any of ours and without making one: a scratch group
//! would be left behind by whoever is killed beside it.
//!
//! The parent group's own files tell. The hierarchy's root lacks files that groups have; what is younger than
//! `cgroup.kill` (Linux 5.14) and `memory.peak` (5.19), and there, tells of them. Before that the groups in the
//! root are looked at, and where there is none nothing is promised. What a group really has is looked up when
//! it is made.

use containment_process::cgroupfs::{Dir, Failure};

use crate::controllers::is_root;

/// Of how many groups of a root the files are looked at: there may be thousands.
const A_FEW: usize = 8;

/// Younger files of a root: since Linux 6.1 where pressure is measured, 6.7, and 5.19 with the memory controller.
const YOUNG: [&str; 3] = ["cgroup.pressure", "cpu.stat.local", "memory.reclaim"];
/// Where the kernel tells of its features, and a younger one: since Linux 6.0.
const FEATURES: &str = "/sys/kernel/cgroup/features";
const YOUNG_FEATURE: &str = "favordynmods";

/// The files that kernels may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// `cgroup.kill`
    pub(crate) kills: bool,
    /// `memory.peak`, where there is the memory controller.
    pub(crate) has_memory_peak: bool,
    /// `memory.swap.current` and `memory.swap.max`, the same.
    pub(crate) has_swap: bool,
}

impl Kernel {
    /// Looks at the parent group, and from there only at groups that are there anyhow.
    pub(crate) fn look(parent: &Dir) -> Result<Self, Failure> {
        let by_root = Self::by_root_alone(parent);
        if !is_root(parent) {
            return Ok(by_root.corrected_by(parent));
        }
        if by_root.kills {
            return Ok(by_root);
        }
        let names = parent.subdirectories()?;
        let groups = names.iter().filter_map(|name| parent.open_beneath(name).ok());
        Ok(groups.take(A_FEW).fold(by_root, |known, group| known.corrected_by(&group)))
    }

    fn by_root_alone(root: &Dir) -> Self {
        let is_young = YOUNG.iter().any(|file| root.exists(file)) || tells_a_young_feature();
        let has_swap = std::path::Path::new("/proc/swaps").exists();
        Self { kills: is_young, has_memory_peak: is_young, has_swap }
    }

    /// By what a group has. One that vanished meanwhile tells nothing, nor does one without the memory
    /// controller of memory.
    fn corrected_by(mut self, group: &Dir) -> Self {
        let kills = group.exists("cgroup.kill");
        let memory = group.exists("memory.current");
        let (peak, swap) = (group.exists("memory.peak"), group.exists("memory.swap.current"));
        if group.is_gone() {
            return self;
        }
        self.kills = kills;
        if memory {
            (self.has_memory_peak, self.has_swap) = (peak, swap);
        }
        self
    }
}

/// By sysfs, which need not be mounted.
fn tells_a_young_feature() -> bool {
    let features = std::fs::read_to_string(FEATURES).unwrap_or_default();
    features.lines().any(|feature| feature == YOUNG_FEATURE)
}

#[cfg(test)]
mod tests {
    use containment_core::{CgroupOps, ControllerSet, Group, GroupName, Policy};
    use containment_process::proc::Base;

    use super::*;
    use crate::CgroupV2;
    use crate::must_run::skip;

    #[test]
    fn each_sign_of_a_young_kernel_goes_with_the_others() {
        let driver = match CgroupV2::probe(Base::default()) {
            Ok(driver) => driver,
            Err(error) => return skip("cgroup-v2", &error),
        };
        // The youngest of them, which needs no controller and no configuration, as the feature does.
        let is_younger = driver.place.mount.exists("cpu.stat.local");
        if is_younger && std::path::Path::new(FEATURES).exists() {
            assert!(tells_a_young_feature());
        }
    }

    /// A root that tells of itself tells the truth.
    #[test]
    fn what_the_root_promises_a_group_has() {
        let driver = match CgroupV2::probe(Base::default()) {
            Ok(driver) => driver,
            Err(error) => return skip("cgroup-v2", &error),
        };
        let name: GroupName =
            format!("contain-test-kernel-{}", std::process::id()).parse().unwrap();
        let made = match driver.create(&name, ControllerSet::EMPTY) {
            Ok(made) => Group::new(made, driver.waiter()),
            Err(error) => return skip("cgroup-v2", &error),
        };
        let parent = &driver.place.dir;
        let group = parent.open_beneath(name.as_str()).unwrap();
        let promised = Kernel::by_root_alone(&driver.place.mount);
        let given = promised.corrected_by(&group);
        assert!(given.kills || !promised.kills, "{promised:?} {given:?}");
        assert_eq!(Kernel::look(parent).unwrap().kills, given.kills);
        assert!(made.terminate(&Policy::kill()).unwrap().is_clean());
        assert_eq!(promised.corrected_by(&group), promised, "what is gone tells nothing");
    }
}
