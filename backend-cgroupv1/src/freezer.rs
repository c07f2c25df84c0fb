//! The freezer. Kernel: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst.
//!
//! A frozen task of version 1 does not even die before it is thawed. Whoever freezes a group freezes
//! the groups in it; to thaw it leaves those frozen that were frozen by themselves. Reading the state
//! is what completes a freeze.

use std::path::{Path, PathBuf};

use containment_core::FreezeState;
use containment_process::cgroupfs::{Dir, Failure};

use crate::branch::Branch;
use crate::hierarchy::Hierarchy;

/// Asks for a group to be frozen, and all in it.
pub(crate) fn freeze(dir: &Dir) -> Result<(), Failure> {
    dir.write("freezer.state", "FROZEN")
}

/// Asks for the group to be thawed, and every group in it, whoever froze it. Whether any was frozen, be it
/// by a group around it.
pub(crate) fn thaw(branch: &Branch) -> Result<bool, Failure> {
    let mut frozen = false;
    branch.walk(|dir| {
        if state(dir)? == FreezeState::Thawed {
            return Ok(());
        }
        frozen = true;
        dir.write("freezer.state", "THAWED")
    })?;
    Ok(frozen)
}

/// How far a freeze has come, be it of this group or of one around it.
pub(crate) fn state(dir: &Dir) -> Result<FreezeState, Failure> {
    dir.read("freezer.state").map(|text| parse_state(&text))
}

fn parse_state(text: &[u8]) -> FreezeState {
    match text.trim_ascii() {
        b"FROZEN" => FreezeState::Frozen,
        b"FREEZING" => FreezeState::Freezing,
        _ => FreezeState::Thawed,
    }
}

/// The group around this one that keeps it frozen: the outermost that was frozen itself. `None` when
/// there is none, or it is not shown by the mount.
pub(crate) fn held_by(hierarchy: &Hierarchy, relative: &Path) -> Result<Option<PathBuf>, Failure> {
    let Ok(mount) = hierarchy.mounted.open() else { return Ok(None) };
    let freezes = |group: &Dir| Ok(group.read("freezer.self_freezing")?.starts_with(b"1"));
    let holder = mount.first_above(relative, freezes)?;
    Ok(holder.map(|holder| holder.path().to_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_states_are_told_apart() {
        assert_eq!(parse_state(b"FROZEN\n"), FreezeState::Frozen);
        assert_eq!(parse_state(b"FREEZING\n"), FreezeState::Freezing);
        assert_eq!(parse_state(b"THAWED\n"), FreezeState::Thawed);
    }
}
