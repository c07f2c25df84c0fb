//! Small parsers of kernel text in `/proc`, and the readings on top of them.
//!
//! A parser takes bytes and never panics; a reading opens one file, reads it and closes it. Nothing
//! here waits, signals or writes.

mod base;
mod boot;
pub mod cgroup;
mod descent;
pub mod mountinfo;
mod process;
mod stat;
pub(crate) mod text;
mod threads;
mod tree;

pub use base::Base;
pub use boot::{BootId, InvalidBootId, boot_id};
pub use process::Process;
pub use stat::{Stat, ticks};
pub use tree::Snapshot;
