//! `contain guard` and `contain keep`: the helper that a library's process starts for itself, by
//! `Containment::builder().helper(path)`. The one ends that process's groups should it die; the other starts
//! programs for it, waits for them whatever becomes of it, and writes down how they end.
//!
//! `contain run` has a guardian and keepers of its own.

use containment::{ErrorKind, Operation, Role};

use crate::{errors, exit};

/// Serves until there is nothing left to do; gives the exit status.
pub(crate) fn serve(role: Role) -> u8 {
    match containment::serve(role) {
        Ok(()) => exit::DONE,
        Err(error) => {
            let status = errors::failed(&error);
            match error.operation() {
                // Typed by a person, or started by a library of another version.
                Operation::Serve if error.kind() == ErrorKind::InvalidInput => exit::USAGE,
                _ => status,
            }
        }
    }
}
