//! What a maker that was killed while it made a group left in one hierarchy: a directory without a note.

use containment_core::{ErrorKind, GroupName, Operation, Result};
use containment_process::cgroupfs::{Dir, Failure};
use containment_process::proc::Base;

use crate::branch::NOTE;
use crate::host::Place;

/// Removes the empty directories that bear the name of a group which was never finished, and that carry
/// neither the mark of a group on record nor the note of one that they belong to. What is in use is
/// left alone.
///
/// # Errors
/// Those of a directory that cannot be read or removed.
pub fn remove_unfinished(base: &Base, name: &GroupName) -> Result<()> {
    let place = Place::find(base)?;
    place.hierarchies.iter().try_for_each(|hierarchy| {
        remove(&hierarchy.dir, name)
            .map_err(|failure| failure.during(Operation::Remove).with_group(name))
    })
}

fn remove(top: &Dir, name: &GroupName) -> Result<(), Failure> {
    match remove_unnoted(top, name) {
        Err(failure) if failure.is_gone() || failure.kind() == ErrorKind::Busy => Ok(()),
        removed => removed,
    }
}

fn remove_unnoted(top: &Dir, name: &GroupName) -> Result<(), Failure> {
    let dir = top.open_beneath(name.as_str())?;
    if dir.note(NOTE)?.is_some() || dir.mark()?.is_some() {
        return Ok(());
    }
    let (above, last) = name.split_last();
    // The kernel removes none that holds a process or another group.
    top.open_beneath(above.unwrap_or_default())?.remove_child(last)
}
