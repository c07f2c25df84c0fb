//! Ending what dead owners left, and opening groups that are on record.

use std::sync::Arc;
use std::time::Duration;

use backend_pgrp::{Keeper, ProcessGroups, Trace};
use containment_core::{
    Backend, Error, ErrorKind, GroupId, GroupName, GroupOps, Identity, Operation, Pid, Policy,
    Result, SystemWaiter, Teardown, Waiter,
};
use containment_process::proc::Base;

use super::{Entry, Owner, Process, Registry, owner, this_boot};
use crate::drivers::{Driver, Host as _, Place, ThisHost};

/// What became of the groups on record.
///
/// ```
/// use containment::Backend;
/// use containment::registry::{Collected, Registry, Tenure};
///
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let registry = Registry::open(Some(directory))?;
/// let name = "ours".parse()?;
/// let claim = registry.claim(&name, Backend::CgroupV2, None, Tenure::Owner)?;
/// let Collected { removed, kept, errors } = registry.collect(true)?;
/// assert!(removed.is_empty() && errors.is_empty());
/// assert_eq!(kept, [name], "its owner lives");
/// claim.release()?;
/// registry.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Collected {
    /// Groups that were ended and removed, or that were gone already.
    pub removed: Vec<GroupName>,
    /// Groups that are somebody's.
    pub kept: Vec<GroupName>,
    /// What could not be read, ended or removed.
    pub errors: Vec<Error>,
}

impl Collected {
    fn note(&mut self, entry: &Entry, ended: Result<()>) {
        match ended {
            Ok(()) => self.removed.push(entry.name.clone()),
            Err(error) => self.errors.push(error),
        }
    }
}

/// How many groups are held open at once: each takes some descriptors.
const AT_ONCE: usize = 64;

/// How long the end of one group may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Registry {
    /// Ends and removes the groups whose owner is dead, its guardian too; never one with a living
    /// owner, nor one that has none. A guardian that was stopped and has outlived its owner is had go on, and ends
    /// them itself. With `dry_run` it only says which.
    ///
    /// # Errors
    /// When the registry itself cannot be read; what fails with one group is listed.
    pub fn collect(&self, dry_run: bool) -> Result<Collected> {
        let (mut collected, mut dead) = (Collected::default(), Vec::new());
        for entry in self.entries()? {
            match entry.and_then(|entry| Ok((self.owner(&entry)?, entry))) {
                Ok((Owner::Dead, entry)) if dry_run => collected.removed.push(entry.name),
                Ok((Owner::Dead, entry)) => dead.push(entry),
                Ok((Owner::Alive | Owner::None, entry)) => {
                    if let Some(owner) = entry.owner.filter(|_| !dry_run)
                        && let Err(error) = owner::wake_guardian(&self.dir, owner)
                    {
                        collected.errors.push(error.with_group(&entry.name));
                    }
                    collected.kept.push(entry.name);
                }
                Err(error) => collected.errors.push(error),
            }
        }
        self.end_all(&dead, &mut collected);
        if !dry_run {
            self.tidy()?;
        }
        Ok(collected)
    }

    /// Ends and removes the groups of `owner`, which is dead: for whoever stands beside its lock.
    pub(crate) fn collect_of(&self, owner: Process) -> Result<Collected> {
        let (mut collected, mut own) = (Collected::default(), Vec::new());
        for entry in self.entries()? {
            match entry {
                Ok(entry) if entry.owner == Some(owner) => own.push(entry),
                Ok(entry) => collected.kept.push(entry.name),
                // Whosever it is: `gc` tells it.
                Err(error) => tracing::debug!(%error, "an entry was passed over"),
            }
        }
        self.end_all(&own, &mut collected);
        if collected.errors.is_empty() {
            self.dir.remove(&owner::file_name(owner))?;
        }
        Ok(collected)
    }

    /// Ends and removes groups.
    fn end_all(&self, entries: &[Entry], collected: &mut Collected) {
        let mut drivers = Drivers::default();
        for batch in entries.chunks(AT_ONCE) {
            let (processes, mut apart): (Vec<_>, Vec<_>) =
                batch.iter().partition(|entry| entry.backend == Backend::ProcessGroup);
            if self.end_together(&processes).is_ok() {
                for entry in processes {
                    collected.note(entry, self.forget_entry(entry));
                }
            } else {
                // What fails with all together is tried again with each, and told then.
                apart.extend(processes);
            }
            self.end_each(&apart, &mut drivers, collected);
        }
    }

    /// Everybody is killed before the end of anybody is waited for.
    fn end_each(&self, entries: &[&Entry], drivers: &mut Drivers, collected: &mut Collected) {
        let opened: Vec<_> = entries.iter().map(|entry| self.open_by(entry, drivers)).collect();
        for group in opened.iter().flatten() {
            // What fails is tried again below, and told then.
            let _ = group.kill();
        }
        for (entry, group) in entries.iter().zip(opened) {
            collected.note(entry, self.end(entry, group));
        }
    }

    /// Ends process groups, whose members are looked for among all processes: once for all of them.
    fn end_together(&self, entries: &[&Entry]) -> Result<()> {
        let boot = this_boot()?;
        let (mut ids, mut trace) = (Vec::new(), Trace::default());
        for entry in entries.iter().filter(|entry| entry.boot == boot) {
            ids.extend(entry.id());
            trace.extend(self.trace(entry)?);
        }
        match lost(ids, trace)? {
            Some(group) => end_group(&*group),
            None => Ok(()),
        }
    }

    /// What is known of the processes of a process group.
    fn trace(&self, entry: &Entry) -> Result<Trace> {
        let known = |process: Process| Some((Pid::new(process.pid)?, process.started));
        let kept = self.programs(entry)?;
        let programs = kept.iter().map(|program| program.process).chain(entry.program);
        let keepers = kept.iter().map(|program| program.keeper);
        Ok(Trace {
            programs: programs.filter_map(known).collect(),
            keepers: keepers.filter_map(known).collect(),
        })
    }

    /// Opens the group that an entry is about, as it is now: of its identity and with its mark, or not
    /// at all.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when it is gone, or when what bears its name now is another
    /// one.
    pub fn open_group(&self, entry: &Entry) -> Result<Box<dyn GroupOps>> {
        self.open_by(entry, &mut Drivers::default())
    }

    fn open_by(&self, entry: &Entry, drivers: &mut Drivers) -> Result<Box<dyn GroupOps>> {
        let missing = || {
            Error::new(ErrorKind::NotFound, Operation::Open)
                .with_backend(entry.backend)
                .with_group(&entry.name)
        };
        if entry.boot != this_boot()? {
            return Err(missing());
        }
        if entry.backend == Backend::ProcessGroup {
            let ids = entry.id().into_iter().collect();
            return lost(ids, self.trace(entry)?)?.ok_or_else(missing);
        }
        let driver = drivers.of(entry)?;
        let group = match entry.id() {
            Some(id) => driver.open(&id)?,
            // Its maker died before it could tell: whatever bears the name has to carry the mark.
            None => named(&*driver, &entry.name)?.ok_or_else(missing)?,
        };
        match group.mark()? {
            Some(mark) if mark == entry.mark => Ok(group),
            // Not even marked yet: nobody was put into it, and nobody will miss it.
            None if entry.identity.is_none() && !group.populated()? => Ok(group),
            _ => Err(missing().because("the group of that name does not carry its mark")),
        }
    }

    fn end(&self, entry: &Entry, group: Result<Box<dyn GroupOps>>) -> Result<()> {
        match group {
            Ok(group) => end_group(&*group)?,
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
        remove_rest(entry)?;
        self.forget_entry(entry)
    }
}

/// Removes what is left of a group in single hierarchies: whoever made or removed it may have been killed
/// between two of them, and one may be out of reach now.
pub(super) fn remove_rest(entry: &Entry) -> Result<()> {
    if !matches!(entry.backend, Backend::CgroupV1 | Backend::Hybrid) {
        return Ok(());
    }
    let owner = match entry.identity {
        Some(Identity::Cgroup(inode)) => Some(inode),
        _ => None,
    };
    backend_cgroupv1::remove_unfinished(&base(entry), &entry.name, owner)
}

/// The group that bears a name now, below the driver's parent group or inside of others.
fn named(driver: &dyn Driver, name: &GroupName) -> Result<Option<Box<dyn GroupOps>>> {
    let mut levels = name.components();
    let Some(mut reached) = levels.next().map(str::to_owned) else { return Ok(None) };
    let direct = driver.list()?.into_iter().find(|id| id.name.as_str() == reached);
    let Some(mut group) = direct.map(|id| driver.open(&id)).transpose()? else { return Ok(None) };
    for level in levels {
        reached = format!("{reached}/{level}");
        let inner = group.subgroups()?;
        match inner.into_iter().find(|group| group.id().name.as_str() == reached) {
            Some(inner) => group = inner,
            None => return Ok(None),
        }
    }
    Ok(Some(group))
}

/// The process groups of these ids as one, as far as they can be found; none where none was ever made.
fn lost(ids: Vec<GroupId>, trace: Trace) -> Result<Option<Box<dyn GroupOps>>> {
    Ok(ProcessGroups::probe(Keeper::None)?.lost(ids, trace))
}

/// The drivers of groups on record, each looked for once: most groups were made at one place.
#[derive(Debug, Default)]
struct Drivers(Vec<(Entry, Arc<dyn Driver>)>);

impl Drivers {
    /// The driver of a group, below the groups where that was made.
    fn of(&mut self, entry: &Entry) -> Result<Arc<dyn Driver>> {
        let place = |entry: &Entry| (entry.backend, entry.home.clone(), entry.parent.clone());
        if let Some((_, known)) = self.0.iter().find(|(of, _)| place(of) == place(entry)) {
            return Ok(Arc::clone(known));
        }
        let driver = ThisHost.probe(entry.backend, &Place::on(base(entry)))?.driver;
        self.0.push((entry.clone(), Arc::clone(&driver)));
        Ok(driver)
    }
}

/// Below what a group on record was made.
fn base(entry: &Entry) -> Base {
    let home = Base::default().of(entry.home.as_bytes());
    match &entry.parent {
        Some(parent) => home.at(parent),
        None => home,
    }
}

pub(super) fn end_group(group: &dyn GroupOps) -> Result<()> {
    let policy = Policy::kill().give_up_after(PATIENCE);
    let waiter: &dyn Waiter = &SystemWaiter::new();
    let report = Teardown::new(policy).run(group, waiter);
    if report.is_clean() {
        return Ok(());
    }
    let named = report.survivors.iter().take(8);
    let named: Vec<_> = named.map(|m| format!("{} {} ({})", m.pid, m.comm, m.state)).collect();
    Err(report.errors.into_iter().next().unwrap_or_else(|| {
        let name = &group.id().name;
        if named.is_empty() {
            return Error::new(ErrorKind::Busy, Operation::Remove).with_group(name);
        }
        Error::new(ErrorKind::TimedOut, Operation::Kill)
            .with_group(name)
            .because(format!("still alive: {}", named.join(", ")))
            .advise("look at what holds them (/proc/PID/stack), and try again")
    }))
}
