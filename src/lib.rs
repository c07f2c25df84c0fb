//! Holds a set of processes together and ends it for certain, on any Linux host.
//!
//! A [`Containment`] is one way of doing that which works on this host: cgroup version 2, or 1, where one
//! can be had, process groups where there is nothing better. It makes [`Group`]s; a group holds
//! programs and whatever they start, and ends all of it.
//!
//! ```no_run
//! use std::time::Duration;
//! use containment::{Bytes, Containment, Limits, Policy, Program};
//!
//! let host = Containment::auto()?;
//! println!("{}", host.selection());
//! let limits = Limits::new().memory_max(Bytes::gib(2)).pids_max(500);
//! let job = host.group("build-42").limits(&limits).create()?;
//! let make = job.spawn(&Program::new("make").arg("-j8"))?;
//! let status = make.wait()?;
//! let report = job.terminate(&Policy::graceful(Duration::from_secs(10)))?;
//! assert!(report.is_clean(), "{status}, and left: {:?}", report.survivors);
//! # Ok::<(), containment::Error>(())
//! ```
//!
//! What each way guarantees is told before any group exists ([`Capabilities`]), can be required
//! ([`Requirement`]), and which one was taken and why the better ones were not is part of the
//! answer ([`Selection`]).
#![forbid(unsafe_code)]

mod aided;
mod builder;
mod contain_children;
mod containment;
mod drivers;
mod enclosing;
mod guardian;
mod hybrid;
mod keeping;
mod launch;
mod making;
mod mark;
pub mod registry;
mod require;
mod scope;
mod selection;
mod simple;
pub mod slurm;
mod survey;
mod sweep;
#[cfg_attr(not(feature = "systemd"), path = "systemd_absent.rs")]
mod systemd;

pub use backend_cgroupv1::{InitState, Initialized, init};
pub use backend_pgrp::Keeper;
pub use builder::{Builder, Proof};
pub use contain_children::ContainChildren;
pub use containment::Containment;
pub use containment_core::*;
pub use containment_process::ancestry::Ancestry;
pub use containment_process::users::find as find_user;
pub use enclosing::enclosing_limits;
pub use guardian::Guardian;
pub use hybrid::Hybrid;
pub use keeping::{Role, serve};
pub use launch::Launch;
pub use making::{Degradation, GroupBuilder};
pub use mark::{GROUP_VARIABLE, group_variable};
pub use require::{InvalidRequirement, Requirement};
pub use selection::{Finding, Rejected, Selection, Systemd};
pub use simple::{HowHeld, SimpleContainChildren, contain_children};
pub use sweep::end_descendants;
