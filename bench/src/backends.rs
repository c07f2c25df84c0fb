//! Our ways of holding processes together, as a user of the library gets them on this host.

use std::path::PathBuf;

use containment::registry::{Registry, Tenure};
use containment::{Backend, Bytes, Containment, Cpus, Group, Keeper, Limits, Proof};

use crate::crowd;
use crate::measure::Result;

/// One of them.
pub struct Held {
    pub name: &'static str,
    pub backend: Backend,
    pub host: Containment,
    pub limits: Limits,
    pub guarantee: String,
}

pub const V2: &str = "v2";
pub const V1: &str = "v1";
pub const HYBRID: &str = "hybrid";
pub const PROCESS_GROUP: &str = "process group";
pub const KEPT: &str = "process group with a keeper";

impl Held {
    fn new(
        name: &'static str,
        backend: Backend,
        host: Containment,
        limits: Limits,
    ) -> Result<Self> {
        // What it guarantees is asked of a group: a host may have groups of several kinds.
        let group = host.group(crowd::name("probe")).limits(&limits).create()?;
        let told = group.capabilities();
        let guarantee = format!("kill {}, escape {}", told.kill, told.escape);
        let report = group.terminate(&containment::Policy::kill())?;
        if !report.is_clean() {
            return Err(format!("a group was left: {report:?}").into());
        }
        Ok(Self { name, backend, host, limits, guarantee })
    }

    fn of(name: &'static str, backend: Backend, limits: Limits) -> Result<Self> {
        let host = Containment::builder().backend(backend).keeper(Keeper::None);
        Self::new(name, backend, host.build()?, limits)
    }

    pub fn v2() -> Result<Self> {
        Self::of(V2, Backend::CgroupV2, Limits::new())
    }

    pub fn v1() -> Result<Self> {
        Self::of(V1, Backend::CgroupV1, Limits::new())
    }

    /// With a limit in one hierarchy of version 1: without any it is a group of version 2.
    pub fn hybrid() -> Result<Self> {
        Self::of(HYBRID, Backend::Hybrid, Limits::new().pids_max(100_000))
    }

    pub fn hybrid_in_three() -> Result<Self> {
        let limits = Limits::new().pids_max(100_000).memory_max(Bytes::gib(8));
        Self::of(
            "hybrid, limits in three hierarchies",
            Backend::Hybrid,
            limits.cpus(Cpus::new(8.0)?),
        )
    }

    pub fn process_group() -> Result<Self> {
        Self::of(PROCESS_GROUP, Backend::ProcessGroup, Limits::new())
    }

    /// With the helper that a library names, which keeps the groups on record, too.
    pub fn kept() -> Result<Self> {
        let state = std::env::temp_dir().join(crowd::name("state"));
        let registry = Registry::open(Some(&state))?;
        let builder = Containment::builder().backend(Backend::ProcessGroup).proof(Proof::OnUse);
        let builder = builder.registry(&registry, Tenure::Owner).helper(contain()?);
        Self::new(KEPT, Backend::ProcessGroup, builder.build()?, Limits::new())
    }

    pub fn group(&self, what: &str) -> Result<Group> {
        Ok(self.host.group(crowd::name(what)).limits(&self.limits).create()?)
    }
}

/// The static binary that is released, which `just bench` builds.
pub fn contain() -> Result<PathBuf> {
    built("x86_64-unknown-linux-musl/release/contain")
}

/// Something that was built in the workspace's target directory.
pub fn built(what: &str) -> Result<PathBuf> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target").join(what).canonicalize();
    Ok(path.map_err(|error| format!("{what} is not built ({error}); `just bench` builds it"))?)
}
