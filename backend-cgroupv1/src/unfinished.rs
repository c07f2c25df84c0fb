//! What somebody who was killed while he made or removed a group left in one hierarchy.

use std::path::Path;

use containment_core::{ErrorKind, GroupName, Operation, Result};
use containment_process::cgroupfs::{Dir, Failure, Version};
use containment_process::proc::Base;

use crate::branch::NOTE;
use crate::host::{Place, again};

/// Removes the empty directories that bear the name of a group which was never finished, and that carry
/// neither the mark of a group on record nor the note of one that they belong to; those with the note of
/// `owner`, where the group was finished and is half gone. What is in use is left alone.
///
/// # Errors
/// Those of a directory that cannot be read or removed; [`Unusable`](ErrorKind::Unusable) where there may be
/// one in a hierarchy that was denied to us.
pub fn remove_unfinished(base: &Base, name: &GroupName, owner: Option<u64>) -> Result<()> {
    let place = Place::find(base)?;
    place.hierarchies.iter().try_for_each(|hierarchy| {
        remove(&hierarchy.dir, name, owner)
            .map_err(|failure| failure.during(Operation::Remove).with_group(name))
    })?;
    let hidden = place.denied.iter().find(|(at, _)| may_be_in(at, name, owner));
    hidden.map_or(Ok(()), |(_, why)| Err(again(why).during(Operation::Remove).with_group(name)))
}

/// Whether a directory of the group is in one that we cannot act on. What cannot be looked at may be there.
fn may_be_in(denied: &Path, name: &GroupName, owner: Option<u64>) -> bool {
    match Dir::open_mount(&denied.join(name.as_str()), Version::V1) {
        Ok(dir) => belongs(&dir, owner).unwrap_or(true),
        Err(failure) => !failure.is_gone(),
    }
}

fn remove(top: &Dir, name: &GroupName, owner: Option<u64>) -> Result<(), Failure> {
    match remove_of(top, name, owner) {
        Err(failure) if failure.is_gone() || failure.kind() == ErrorKind::Busy => Ok(()),
        removed => removed,
    }
}

fn remove_of(top: &Dir, name: &GroupName, owner: Option<u64>) -> Result<(), Failure> {
    let dir = top.open_beneath(name.as_str())?;
    if !belongs(&dir, owner)? {
        return Ok(());
    }
    let (above, last) = name.split_last();
    // The kernel removes none that holds a process or another group.
    top.open_beneath(above.unwrap_or_default())?.remove_child(last)
}

fn belongs(dir: &Dir, owner: Option<u64>) -> Result<bool, Failure> {
    let note = dir.note(NOTE)?;
    Ok(match owner {
        Some(owner) => note.is_some_and(|note| note == owner.to_string().as_bytes()),
        None => note.is_none() && dir.mark()?.is_none(),
    })
}
