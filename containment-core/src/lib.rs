//! The core of `containment`: the contract of a driver ([`CgroupOps`], [`GroupOps`], [`ChildOps`]),
//! the types that go through it, the sans-I/O [`teardown`] machine and the owning guard [`Group`].
//!
//! Policy lives here and exists once; mechanism lives in the drivers. This crate imports no sibling
//! and has no `unsafe`.
//!
//! With the feature `mock` each trait has a mock, `MockGroupOps` for one.
#![forbid(unsafe_code)]

mod bounds;
mod capabilities;
mod child;
mod cpuset;
mod error;
mod group;
mod guards;
mod id;
mod limits;
mod member;
mod name;
mod number;
mod open_group;
mod ops;
mod origin;
mod pid;
mod program;
mod proof;
mod reaper;
mod signal;
pub mod teardown;
mod time;
mod topology;
mod usage;

pub use bounds::{Bounds, Ended, Look, Overrun, Watchdog};
pub use capabilities::{
    Backend, Capabilities, Element, Empty, Escape, Freeze, Kill, LeaveBy, Limit, Measure, Set,
};
pub use child::{Child, Outcome};
pub use cpuset::{CpuSet, InvalidCpuSet};
pub use error::{Error, ErrorKind, Operation, Result};
pub use group::{Group, Termination};
pub use guards::{Attached, CgroupGroup, Driver, Entered, FreezeGuard, NotFrozen};
pub use id::{GroupId, Identity};
pub use limits::{
    Applied, Bytes, Cpus, Device, HugePage, InvalidLimit, IoMax, Limits, Most, Quota, Rate, Weight,
};
pub use member::{Member, ProcessState, Standing};
pub use name::{GroupName, InvalidName};
pub use open_group::OpenGroup;
pub use ops::{
    CgroupOps, Change, ChildOps, ControllerSet, FreezeState, GroupOps, HomeOps, KillStep, Reaped,
    Signalled,
};
#[cfg(feature = "mock")]
pub use ops::{MockCgroupOps, MockChildOps, MockGroupOps, MockHomeOps};
#[cfg(feature = "mock")]
pub use origin::MockWitness;
pub use origin::{Hold, Link, Origin, Witness};
pub use pid::{InvalidPid, Pid};
pub use program::{
    Bind, Isolation, ProcessGroup, Program, Resource, Rlimit, Seal, Stream, UnknownResource, User,
};
pub use proof::prove;
pub use reaper::{Reaper, Reaping};
pub use signal::{InvalidSignal, Signal, SignalSet};
pub use teardown::{Policy, Stage, Step, Teardown, TeardownReport};
pub use time::{Backoff, EventId, Interest, Source, SystemWaiter, Time, Waiter, Watch, timeout};
pub use topology::Topology;
pub use usage::{CpuRate, Pressure, Sample, Stalled, Usage};
