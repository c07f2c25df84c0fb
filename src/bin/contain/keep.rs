//! `contain keep`: starts programs for the process that started it, waits for them whatever becomes of that,
//! and writes down how they end. For library users, by `Containment::builder().helper(path)`.

use containment::Role;

use crate::guard;

/// Keeps until there is nothing left to keep; gives the exit status.
pub(crate) fn keep() -> u8 {
    guard::serve(Role::Keep)
}
