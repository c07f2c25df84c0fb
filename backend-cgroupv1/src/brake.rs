//! No forks while a group is being killed: `pids.max` is set to 0, and put back afterwards.
//!
//! What it was is noted on the directory itself, so that whoever takes over after our death can put
//! it back too.

use containment_core::ErrorKind;
use containment_process::cgroupfs::{Dir, Failure};

/// The note that says what `pids.max` was.
const NOTE: &str = "contain.pids_max";
const FILE: &str = "pids.max";

/// Stops every fork in the group. Where the limit cannot be noted it is left as it is.
pub(crate) fn apply(dir: &Dir) -> Result<(), Failure> {
    let before = match dir.read(FILE) {
        Err(failure) if failure.kind() == ErrorKind::Unsupported => return Ok(()),
        read => read?,
    };
    // A note beside any other value is one that could not be taken away.
    let is_applied = before.trim_ascii() == b"0" && dir.note(NOTE)?.is_some();
    if !is_applied && dir.leave_note(NOTE, before.trim_ascii())? {
        dir.write(FILE, "0")?;
    }
    Ok(())
}

/// Puts back what the limit was, if it was taken away for a kill.
pub(crate) fn release(dir: &Dir) -> Result<(), Failure> {
    let Some(before) = dir.note(NOTE)? else { return Ok(()) };
    dir.write(FILE, before)?;
    dir.remove_note(NOTE)
}
