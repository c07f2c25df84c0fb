//! A scope of our own, asked of systemd, where the group that we are in is not ours to arrange: the typical
//! login session.
//!
//! The system's manager is asked by root, the user's own by anybody else, over D-Bus, for a transient scope
//! with `Delegate=yes`; it moves this process in. Groups are made below, as in every delegated group, and
//! the scope vanishes with the last process in it. It is asked for only where it gives something that
//! was asked for and that our own group does not, and never by a process that somebody holds in a group
//! inside of a unit: that would leave what holds it.

mod address;
mod around;
mod connection;
#[cfg(test)]
mod fake;
mod manager;
mod message;
mod unit;

use std::sync::{Mutex, PoisonError};

use backend_cgroupv2::CgroupV2;
use containment_core::{Capabilities, CgroupOps as _, Limit, Measure, Pid, Result, Set};
use containment_process::proc::{Base, Stat};

use around::{Around, Kept, own_group};
use manager::{Manager, Whose, unusable};
use message::Writer;
use unit::Unit;

/// A scope that can be had.
#[derive(Debug)]
pub(crate) struct AvailableScope {
    manager: Manager,
    around: Around,
    limits: Vec<Kept>,
    capabilities: Capabilities,
}

impl AvailableScope {
    /// Asks whether a scope can be had here, and what it would give; nothing is made. `None` where this
    /// process is in no unit that it could leave.
    ///
    /// # Errors
    /// Why there is no scope, with a remedy.
    pub(crate) fn probe(figures: Set<Measure>) -> Result<Option<Self>> {
        let whose = Whose::of_us();
        let Some(around) = Around::us(whose)? else { return Ok(None) };
        let limits = around.limits()?;
        let manager = Manager::find(whose)?;
        // The manager's own group has the controllers that it can hand down.
        let top = CgroupV2::probe(Base::default().at(&*manager.group))?.measuring(figures);
        let mut capabilities = top.capabilities().clone();
        // Delegation covers the controllers that systemd knows, and hugetlb is none of them.
        capabilities.limits =
            capabilities.limits.iter().filter(|limit| *limit != Limit::Hugetlb).collect();
        Ok(Some(Self { manager, around, limits, capabilities }))
    }

    /// What groups in it would guarantee.
    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Enters it: this process is in the scope then, and groups can be made there.
    ///
    /// # Errors
    /// Why it was refused.
    pub(crate) fn enter(self) -> Result<Base> {
        // Whoever moves this process twice at a time ends the scope of the one who came first.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.around.is_current()? {
            return Ok(Base::default());
        }
        let name = scope_name()?;
        let (around, limits, whose) = (self.around, self.limits, self.manager.whose);
        self.manager.start_scope(&name, |properties| {
            describe(properties, around.unit.as_ref(), &limits);
        })?;
        let group = own_group()?;
        if group.file_name().is_none_or(|last| *last != *name) {
            return Err(unusable(format!(
                "{whose} of systemd did not move this process into {name}"
            ))
            .advise("run it in a unit with Delegate=yes"));
        }
        tracing::debug!(scope = %name, "{whose} of systemd gave a scope");
        Ok(Base::default().at(group))
    }
}

impl std::fmt::Display for AvailableScope {
    /// What would be done, as `doctor` tells it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of systemd is asked for a scope with Delegate=yes when it is needed",
            self.manager.whose
        )
    }
}

/// A name that no other process of this boot takes.
fn scope_name() -> Result<String> {
    let pid = Pid::current();
    let stat =
        Stat::read(pid).map_err(|error| unusable(format!("we cannot be told apart: {error}")))?;
    let started = stat.map_or(0, |stat| stat.started);
    Ok(format!("contain-{pid}-{started}.scope"))
}

/// The scope's properties (systemd.scope(5), `org.freedesktop.systemd1(5)`).
fn describe(properties: &mut Writer, unit: Option<&Unit>, limits: &[Kept]) {
    let mut property = |name: &str, signature: &str, value: &dyn Fn(&mut Writer)| {
        properties.structure();
        properties.string(name);
        properties.variant(signature, value);
    };
    property("Description", "s", &|value| value.string("Groups of contain"));
    property("Delegate", "b", &|value| value.bool(true));
    // Whoever sends this, in the manager's own count of processes.
    property("PIDs", "au", &|value| value.array(4, |pids| pids.u32(0)));
    // No failed unit is left of it, however it ends.
    property("CollectMode", "s", &|value| value.string("inactive-or-failed"));
    if let Some(unit) = unit {
        // Below the limits that are around our unit, and stopped with it. A service that ends by itself ends
        // what it holds; a scope does not, and is over as soon as we are out of it.
        if let Some(slice) = &unit.slice {
            property("Slice", "s", &|value| value.string(slice));
        }
        let bound = if unit.is_service() { "BindsTo" } else { "PartOf" };
        property(bound, "as", &|value| value.array(4, |units| units.string(&unit.name)));
    }
    for (name, most) in limits {
        property(name, "t", &|value| value.u64(*most));
    }
}
