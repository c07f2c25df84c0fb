//! The real drivers as suites of drivers use them, one function each: proven to work here, or why not.

use backend_cgroupv1::CgroupV1;
use backend_cgroupv2::CgroupV2;
use backend_pgrp::{Keeper, ProcessGroups};
use containment::Hybrid;
use containment_core::{CgroupOps, Result};

/// The unified hierarchy.
pub(crate) fn cgroup_v2() -> Result<CgroupV2> {
    let driver = CgroupV2::probe(None)?;
    driver.prove()?;
    Ok(driver)
}

/// The hierarchies of version 1.
pub(crate) fn cgroup_v1() -> Result<CgroupV1> {
    let driver = CgroupV1::probe(None)?;
    driver.prove()?;
    Ok(driver)
}

/// Version 2 for the processes, version 1 for limits.
pub(crate) fn hybrid() -> Result<Hybrid> {
    let driver = Hybrid::probe(None)?;
    driver.prove(driver.capabilities().limits)?;
    Ok(driver)
}

/// Process groups, with a keeper or without.
pub(crate) fn process_groups(keeper: Keeper) -> Result<Box<dyn CgroupOps>> {
    let driver = ProcessGroups::probe(keeper)?;
    driver.prove()?;
    Ok(Box::new(driver))
}
