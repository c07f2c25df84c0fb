//! Programs that outlive whoever started them, and groups that do not: by a helper process, or by forks of
//! this one.
//!
//! A library's process has threads, and children of its own: it can neither be forked nor wait for
//! everybody. It names a program, `contain`, that is started as `contain guard` where groups are to end with
//! this process, and as `contain keep` where they are to go on. That **helper** knows the death of this
//! process by its pidfd, and is the sub-reaper above the **keepers**: forks of it, each the parent of one
//! program, which it waits for and whose end it writes down. A helper ends with its last keeper once
//! nobody can ask it for anything any more.

mod helper;
mod kept;
mod messages;
mod order;
mod serve;

pub(crate) use helper::{Helper, Helpers};
pub(crate) use kept::{Keep, spawn_kept};
pub use serve::{Role, serve};
