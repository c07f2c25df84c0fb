//! The levels of a nested name: made from the outside in, removed from the inside out.

use containment_core::{ErrorKind, GroupName};
use containment_process::cgroupfs::{Dir, Failure};

/// Makes the group `name` below `top` and the levels above it that are missing. Also answers how many
/// of those were made. What was made is removed again when something fails.
pub(crate) fn make(top: &Dir, name: &GroupName) -> Result<(Dir, usize), Failure> {
    let mut above = 0;
    descend(top, name, &mut above)
        .map(|dir| (dir, above))
        .inspect_err(|_| remove_above(top, name, above))
}

fn descend(top: &Dir, name: &GroupName, made: &mut usize) -> Result<Dir, Failure> {
    let (above, last) = name.split_last();
    let mut here = top.clone();
    for level in above.into_iter().flat_map(|above| above.split('/')) {
        here = match here.open_beneath(level) {
            Err(failure) if failure.kind() == ErrorKind::NotFound => {
                let made_or_met = here.create(level).map(|dir| (dir, 1)).or_else(|failure| {
                    // Somebody else made it just now.
                    let met = failure.kind() == ErrorKind::AlreadyExists;
                    if met { here.open_beneath(level).map(|dir| (dir, 0)) } else { Err(failure) }
                })?;
                *made += made_or_met.1;
                made_or_met.0
            }
            opened => opened?,
        };
    }
    here.create(last)
}

/// Removes a group that was just made, and the `made` levels above it.
pub(crate) fn unmake(top: &Dir, name: &GroupName, made: usize) {
    let (above, last) = name.split_last();
    let parent = top.open_beneath(above.unwrap_or_default());
    if let Err(failure) = parent.and_then(|parent| parent.remove_child(last))
        && !failure.is_gone()
    {
        tracing::warn!(%failure, group = %name, "cannot remove a half-made group; remove it by hand");
    }
    remove_above(top, name, made);
}

/// Removes the `made` levels directly above the group `name`, innermost first, as far as they are
/// empty: others may have put groups there meanwhile.
pub(crate) fn remove_above(top: &Dir, name: &GroupName, made: usize) {
    let mut path = name.split_last().0;
    for _ in 0..made {
        let Some(level) = path else { return };
        let (above, last) =
            level.rsplit_once('/').map_or(("", level), |(above, last)| (above, last));
        let removed = top.open_beneath(above).and_then(|parent| parent.remove_child(last));
        if let Err(failure) = removed
            && failure.kind() != ErrorKind::Busy
            && !failure.is_gone()
        {
            tracing::warn!(%failure, group = %name, "cannot remove a level above a group; remove it by hand");
        }
        path = level.rsplit_once('/').map(|(above, _)| above);
    }
}
