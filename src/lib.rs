//! Holds a set of processes together and ends it for certain, on any Linux host.
//!
//! A [`Containment`] is one way of doing that which works on this host: cgroup version 2, or 1, where one
//! can be had, process groups where there is nothing better. It makes [`Group`]s; a group holds
//! programs and whatever they start, and ends all of it.
//!
//! # Groups and programs
//! A program is a member before its first instruction, and what it starts is one from birth. A group is
//! killed and removed when its guard is dropped, unless it is [kept](Group::keep).
//!
//! ```
//! use std::time::Duration;
//! use containment::{Containment, Policy, Program};
//!
//! let host = Containment::auto()?;
//! println!("{}", host.selection());
//! let job = host.group(format!("build-{}", std::process::id())).create()?;
//! let build = job.spawn(&Program::new("sh").args(["-c", "sleep 1000 & exit 0"]))?;
//! let status = build.wait()?;
//! let report = job.terminate(&Policy::graceful(Duration::from_secs(10)))?;
//! assert!(report.is_clean(), "{status}, and left: {:?}", report.survivors);
//! # Ok::<(), containment::Error>(())
//! ```
//!
//! [`Program`] says what runs, with which arguments, environment, streams and descriptors; [`Child`] is waited
//! for and signalled; [`Group::attach`] moves in what runs already. [`Builder::launch`] chooses the backend by
//! the very group that is wanted, without a scratch group.
//!
//! Where an example below does not make its `host`, that is one of the
//! [in-memory backend](#testing-without-a-host).
//!
//! # What a group guarantees
//! What each way guarantees is told before any group exists ([`Capabilities`]), can be required
//! ([`Requirement`]), and which one was taken and why the better ones were not is part of the
//! answer ([`Selection`]). [`Builder::survey`] tells it of every backend.
//!
//! ```
//! use containment::{Containment, ErrorKind, Escape, Requirement};
//!
//! let swept = Requirement::Escape(Escape::Swept);
//! match Containment::builder().require(swept).build() {
//!     Ok(host) => assert!(host.capabilities().escape >= Escape::Swept),
//!     // Names every backend that was tried, with its reason.
//!     Err(error) => assert_eq!(error.kind(), ErrorKind::RequirementUnmet),
//! }
//! ```
//!
//! # Limits and usage
//! Limits are in force before the first program starts. One that cannot be applied is an error, or, where
//! [best effort](GroupBuilder::best_effort) will do, a [`Degradation`] that is listed. A figure of [`Usage`] that
//! is not measured is `None`, never 0. [`Bounds`] end a run by time, by CPU time, or at its first OOM kill.
//!
//! ```
//! use std::time::Duration;
//! use containment::{Bounds, Bytes, Cpus, Ended, Limits, Overrun, Program};
//!
//! # let fake = backend_fake::Fake::new();
//! # fake.program("make", backend_fake::Script::new());
//! # let host = containment::Containment::with(fake);
//! let limits = Limits::new().memory_max(Bytes::gib(2)).cpus(Cpus::new(1.5)?).pids_max(500);
//! let job = host.group("build-42").limits(&limits).create()?;
//! let make = job.spawn(&Program::new("make").arg("-j8"))?;
//! let ended = job.wait(&make, &Bounds::new().wall(Duration::from_secs(60)))?;
//! assert_eq!(ended, Ended::Overrun(Overrun::Timeout));
//! assert_eq!(job.usage()?.pids, Some(1));
//! # Ok::<(), containment::Error>(())
//! ```
//!
//! [`Builder::measuring`] asks for figures that have a price, [`Builder::sampling`] keeps their files open, [`Sample`]
//! makes rates of them, [`Topology`] deals out CPUs, and [`enclosing_limits`] are those that whoever holds us has set.
//!
//! # Freezing
//! A group stands still until its [`FreezeGuard`] is dropped. A freeze that does not come about is undone, and
//! [`NotFrozen`] says who was in the way.
//!
//! ```
//! # use std::time::Duration;
//! # use containment::Program;
//! # let fake = backend_fake::Fake::new();
//! # fake.program("make", backend_fake::Script::new());
//! # let host = containment::Containment::with(fake);
//! let job = host.group("build-42").create()?;
//! job.spawn(&Program::new("make"))?;
//! let still = job.freeze(Duration::from_secs(1))?;
//! assert_eq!(job.members()?.len(), 1);
//! still.thaw()?;
//! # Ok::<(), containment::Error>(())
//! ```
//!
//! # Ending
//! A [`Policy`] says how hard and for how long to try, a [`TeardownReport`] whom it met, each by name and
//! [`Origin`]. [`Group::begin_termination`] is for those who do the waiting themselves.
//!
//! ```
//! # use std::time::Duration;
//! # use backend_fake::Script;
//! # use containment::{Policy, Program, Signal};
//! # let fake = backend_fake::Fake::new();
//! # let daemon = Script::new().named("daemon").ignores(Signal::TERM);
//! # fake.program("make", Script::new().forks(Duration::ZERO, daemon).exits(Duration::from_secs(1), 0));
//! # let host = containment::Containment::with(fake);
//! let job = host.group("build-42").create()?;
//! job.spawn(&Program::new("make"))?.wait()?;
//! let report = job.terminate(&Policy::graceful(Duration::from_secs(10)).measuring())?;
//! assert_eq!(report.left_behind[0].comm, "daemon", "it was alive when the program had ended");
//! assert!(report.elapsed >= Duration::from_secs(10), "and ignored SIGTERM");
//! assert!(report.is_clean(), "no survivor, and the group is gone");
//! # Ok::<(), containment::Error>(())
//! ```
//!
//! What a drop could not end is warned of through `tracing`.
//!
//! # Many groups at once
//! A [`Reaper`] ends any number of groups on one thread. Each [`Reaping`] is waited for, or awaited on any
//! executor.
//!
//! ```
//! # use containment::{Policy, Program};
//! # let fake = backend_fake::Fake::new();
//! # fake.program("task", backend_fake::Script::new().dies_within(std::time::Duration::ZERO));
//! # let host = containment::Containment::with(fake);
//! let reaper = containment::Reaper::start()?;
//! let mut reapings = Vec::new();
//! for number in 0..3 {
//!     let group = host.group(format!("task-{number}")).create()?;
//!     group.spawn(&Program::new("task"))?;
//!     reapings.push(reaper.submit(group, Policy::kill()));
//! }
//! for reaping in reapings {
//!     assert!(reaping.wait()?.is_clean());
//! }
//! # Ok::<(), containment::Error>(())
//! ```
//!
//! # Recovery
//! A group on record in a [`Registry`](registry::Registry) can be found by others, and ended when its owner has
//! died. With a [helper](Builder::helper) it is ended at once should this process be killed
//! ([`Tenure::Owner`](registry::Tenure)), or goes on, and how its programs end is written down
//! ([`Tenure::Lasting`](registry::Tenure)). An [`OpenGroup`] is one that is not ours to end. What is left when
//! which of them is killed stands in `docs/RECOVERY.md`.
//!
//! ```no_run
//! // Not run here: the helper is `contain`, which has to be installed.
//! use containment::registry::{Registry, Tenure};
//! use containment::{Containment, Program};
//!
//! let registry = Registry::open(None)?;
//! let host = Containment::builder().registry(&registry, Tenure::Lasting).helper("contain").build()?;
//! host.degraded().iter().for_each(|what| eprintln!("doing without {what}"));
//! let task = host.group("task-1").create()?;
//! task.spawn(&Program::new("sh").args(["-c", "sleep 60; exit 3"]))?;
//! task.keep();
//! // And after a restart, whatever became of us:
//! for entry in registry.entries()? {
//!     let (task, programs) = registry.reopen(&entry?)?;
//!     for program in programs {
//!         println!("{}: {}", task.id().name, program.wait()?);
//!     }
//! }
//! # Ok::<(), containment::Error>(())
//! ```
//!
//! [`Registry::collect`](registry::Registry::collect) ends what dead owners left. A [`Guardian`] does without a
//! helper where the process has one thread, and [`end_descendants`] ends what got away from a group.
//!
//! # Guards
//! A [`CgroupGroup`] is several groups that go together; by itself it only removes them. [`contain_children()`]
//! and [`ContainChildren`] contain what this very process starts, [`Group::enter`] moves it into a group and back.
//! Only the process that made a guard acts on it, never its fork.
//!
//! ```
//! use containment::{CgroupGroup, Topology};
//!
//! # let fake = backend_fake::Fake::v1();
//! # let host = containment::Containment::with(fake);
//! let halves = Topology::flat(&"0-3".parse()?).deal(2)?;
//! let mut groups = CgroupGroup::new(host.driver()).kill_on_drop();
//! groups.add_cgroup("left", &halves[0])?;
//! groups.add_cgroup("right", &halves[1])?;
//! drop(groups);
//! assert!(host.list()?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Isolation
//! A program can run as another user, with resource limits, in another root, with binds, and sealed in, so that
//! not even root inside leaves the group. [`Builder::seal`] takes only a backend and a kernel where that can be.
//! The order of the steps and what they cost stand in `docs/ISOLATION.md`.
//!
//! ```
//! use containment::{Bind, Program, Resource, Rlimit, Seal, User};
//!
//! // By name: find_user("nobody").
//! let nobody = User { uid: 65534, gid: 65534, groups: Vec::new() };
//! let program = Program::new("./untrusted")
//!     .user(nobody)
//!     .bind(Bind::read_only("/usr", "/usr"))
//!     .rlimit(Rlimit { resource: Resource::Core, soft: Some(0), hard: Some(0) })
//!     .seal(Seal::Whole);
//! assert!(program.isolation().needs_own_memory(), "so its start costs what a fork costs");
//! ```
//!
//! # systemd
//! In a login session or a plain service our own group is not ours to make groups in. There the choice of a
//! backend asks systemd for a scope with `Delegate=yes`, and moves this process into it, where that gives something
//! that was asked for (feature `systemd`, on by default). [`Systemd::Never`] does without.
//!
//! ```
//! use containment::{Containment, Systemd};
//!
//! let host = Containment::builder().systemd(Systemd::Never).build()?;
//! # Ok::<(), containment::Error>(())
//! ```
//!
//! # Errors
//! There is one [`Error`]: its [`ErrorKind`] is what a program decides by; the group, the path, the pid, the errno
//! and a remedy are fields. Calls name the kinds that mean something of their own; besides those any call on a
//! group can fail with `Gone`, `PermissionDenied`, `Malformed` and `System`.
//!
//! ```
//! use containment::{ErrorKind, Program};
//!
//! # let host = containment::Containment::with(backend_fake::Fake::new());
//! let job = host.group("build-42").create()?;
//! let error = job.spawn(&Program::new("mkae")).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::ProgramNotFound);
//! assert_eq!(
//!     error.to_string(),
//!     "failed to start a program in group build-42: No such file or directory (ENOENT)"
//! );
//! # Ok::<(), containment::Error>(())
//! ```
//!
//! # Testing without a host
//! The crate `backend-fake` is a small model of kernel and processes: programs are scripts, any operation can be
//! made to fail, and time is virtual.
//!
//! ```
//! use std::time::Duration;
//! use backend_fake::{Fake, Script};
//! use containment::{Containment, ErrorKind, Operation, Policy, Program, Signal};
//!
//! let fake = Fake::v1();
//! fake.program("stubborn", Script::new().ignores(Signal::TERM));
//! fake.fail(Operation::Remove, ErrorKind::Busy, 2);
//! let host = Containment::with(fake.clone());
//! let job = host.group("job").create()?;
//! job.spawn(&Program::new("stubborn"))?;
//! let report = job.terminate(&Policy::graceful(Duration::from_secs(10)))?;
//! assert!(report.is_clean() && report.elapsed >= Duration::from_secs(10));
//! assert_eq!(fake.snapshot().living().count(), 0);
//! # Ok::<(), containment::Error>(())
//! ```
//!
//! With the feature `mock` of `containment-core` there are mocks of [`CgroupOps`], [`GroupOps`], [`ChildOps`],
//! [`HomeOps`] and [`Witness`], too. Code of one's own that implements these goes into [`Containment::with`];
//! `docs/DRIVERS.md` tells how a driver is written.
//!
//! # Features
//! | name | default | what it brings |
//! |---|---|---|
//! | `systemd` | on | scopes that are asked of systemd; it takes no further crate |
//! | `mock` of `containment-core` | off | mocks of the traits, by `mockall` |
//! | `limits` of `backend-cgroupv1` | on | limits of version 1, by `cgroups-rs`; a driver without them still holds, freezes and kills |
//!
//! # Examples
//! Each runs with `cargo run --example NAME`:
//!
//! | name | what it shows |
//! |---|---|
//! | `first_lines` | a program in a group of its own, and nothing left of it |
//! | `kill_a_tree` | a tree of processes that left their parents and sessions, ended branch by branch |
//! | `build_with_daemons` | a build step that leaves daemons, asked to end, killed, and named |
//! | `hundred_tasks` | many tasks at once, ended by one thread |
//! | `choose_a_backend` | what is required, what was taken, and why |
//! | `on_tokio` | groups that end while an executor goes on |
//! | `restart` | an agent that may be killed at any time, and loses no result |
//! | `scenario_on_the_fake`, `scenario_on_a_mock` | what no host shows on demand |
//! | `audited_driver` | a driver of one's own |
//!
//! What a run has to do with a cluster engine is in [`slurm`].
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
pub use mark::{GROUP_VARIABLE, with_group_variable};
pub use require::{InvalidRequirement, Requirement};
pub use selection::{Finding, Rejected, Selection, Systemd};
pub use simple::{HowHeld, SimpleContainChildren, contain_children};
pub use sweep::end_descendants;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
