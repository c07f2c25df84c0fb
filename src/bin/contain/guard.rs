//! `contain guard`: ends the groups of the process that started it, should that die. For library users, by
//! `Containment::builder().helper(path)`; `contain run` has a guardian of its own.

use containment::{ErrorKind, Operation, Role};

use crate::{errors, exit};

/// Stands until there is nothing left to guard; gives the exit status.
pub(crate) fn guard() -> u8 {
    serve(Role::Guard)
}

/// Serves as a helper.
pub(crate) fn serve(role: Role) -> u8 {
    match containment::serve(role) {
        Ok(()) => exit::DONE,
        Err(error) => {
            errors::print(&error);
            match error.operation() {
                // Typed by a person, or started by a library of another version.
                Operation::Serve if error.kind() == ErrorKind::InvalidInput => exit::USAGE,
                _ => exit::of_failure(&error),
            }
        }
    }
}
