//! Small parsers of kernel text in `/proc`, and the readings on top of them.
//!
//! A parser takes bytes and never panics; a reading opens what it reads and closes it, but for
//! [`Process`], which holds one directory open, and [`Base`], which remembers what it read. Nothing here
//! waits, signals or writes.

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
pub use threads::process_of;
pub use tree::Snapshot;
