//! The Linux process primitives that the real drivers and the command share: the [`spawn`] engine, pidfds, waits,
//! signals, sessions, sub-reaping, a forked worker, a channel, users by name, the readings of [`proc`], the [`ancestry`] of
//! processes, [`cgroupfs`] by handles, and for a short life its [`entry`](mod@entry), its [`heap`] and how it
//! copies.
//!
//! All `unsafe` of the workspace is in this crate, a SAFETY sentence with each. Nothing here waits for a group to
//! change or decides what is done with one next: that is for drivers and core.
#![expect(
    clippy::missing_errors_doc,
    reason = "internal to the workspace; what fails is a system call, and drivers tell what that means"
)]

pub mod ancestry;
pub mod cgroupfs;
pub mod channel;
pub mod child;
pub mod code;
pub mod entry;
mod fork;
pub mod heap;
mod malformed;
#[cfg(target_arch = "x86_64")]
pub mod memory;
#[cfg(test)]
#[path = "../../tests/support/must_run.rs"]
mod must_run;
pub mod pidfd;
pub mod proc;
pub mod reap;
pub mod rusage;
pub mod session;
pub mod signalling;
pub mod signals;
pub mod spawn;
pub mod users;
pub mod worker;

pub use malformed::Malformed;
