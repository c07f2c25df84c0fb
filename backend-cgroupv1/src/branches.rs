//! The directories of one group, in every hierarchy that it joined: made all or none, listed as one,
//! and all cleaned even where one cannot be.

use std::collections::HashSet;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use containment_core::{Error, ErrorKind, GroupName, Operation, Pid, Result};
use containment_process::cgroupfs::{Access, Dir, Failure};

use crate::branch::{Branch, Spot};
use crate::cputime::Parts;
use crate::hierarchy::Mounted;
use crate::host::{Index, Place};
use crate::oom::OomEvents;

/// A group's directories, that of its identity first.
#[derive(Debug)]
pub(crate) struct Branches {
    pub(crate) place: Arc<Place>,
    /// The group's name below our own groups.
    pub(crate) name: GroupName,
    /// Its identity, where another driver gives it.
    owner: Option<u64>,
    pub(crate) all: Vec<Branch>,
    pub(crate) oom_events: OomEvents,
    pub(crate) cpu_parts: Parts,
}

/// Who is asked for a group's directories: our own groups, or a group around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Top<'a> {
    pub(crate) place: &'a Arc<Place>,
    pub(crate) outer: Option<&'a Branches>,
}

impl<'a> Top<'a> {
    /// Makes the group `local` in each hierarchy of `joined`. `owners` are the identities of the groups
    /// around it and of itself, outermost first, where another driver gives them; else they are the
    /// directories in the first hierarchy.
    pub(crate) fn create(
        self,
        local: &GroupName,
        joined: &[Index],
        owners: Option<&[u64]>,
    ) -> Result<Branches> {
        let mut made = self.none_yet(local)?;
        made.owner = owners.and_then(|owners| owners.last().copied());
        let done = joined.iter().try_for_each(|index| {
            let spot = self.spot(*index, local, &made.name);
            let owners = owners.map_or_else(|| made.owners(), <[u64]>::to_vec);
            // A group around it that joined the hierarchy has the outer levels.
            let here = owners.len().saturating_sub(spot.name.components().count());
            let branch = spot.create(&owners[here..])?;
            made.all.push(branch);
            Ok(())
        });
        done.map_err(|failure: Failure| {
            made.abandon();
            let error = failure.during(Operation::Create).with_group(&made.name);
            match error.kind() {
                ErrorKind::AlreadyExists => {
                    error.advise("choose another name, or remove that group")
                }
                ErrorKind::NotFound if self.outer.is_some_and(Branches::are_gone) => {
                    let outer = self.outer.map_or(&made.name, |outer| &outer.name);
                    error.with_kind(ErrorKind::Gone).with_group(outer)
                }
                _ => error,
            }
        })?;
        Ok(made)
    }

    /// Opens the group `local` of another driver, whose identity is `owner`: the directories that were
    /// made for it.
    pub(crate) fn open_of(self, local: &GroupName, owner: u64) -> Result<Branches> {
        let mut found = self.none_yet(local)?;
        let branches = self
            .belonging_to(owner, local, &found.name, &[])
            .map_err(|failure| failure.during(Operation::Open).with_group(&found.name))?;
        found.owner = Some(owner);
        found.all = branches;
        Ok(found)
    }

    /// Opens the group `local` as it is now: the directory in `first`, and those in the other
    /// hierarchies that were made for it.
    pub(crate) fn open(self, local: &GroupName, first: Index) -> Result<Branches> {
        let mut found = self.none_yet(local)?;
        let describe = |failure: Failure| failure.during(Operation::Open).with_group(&found.name);
        let identity = self.spot(first, local, &found.name).open().map_err(describe)?;
        let others = self.belonging_to(identity.inode, local, &found.name, &[first]);
        let others = others.map_err(describe)?;
        found.all.push(identity);
        found.all.extend(others);
        Ok(found)
    }

    /// The directories of the name that were made for the group `owner`, but for hierarchies that are
    /// known.
    pub(crate) fn belonging_to(
        self,
        owner: u64,
        local: &GroupName,
        full: &GroupName,
        known: &[Index],
    ) -> Result<Vec<Branch>, Failure> {
        let unknown = (0..self.place.hierarchies.len()).filter(|index| !known.contains(index));
        let opened = unknown.map(|index| self.spot(index, local, full).open_of(owner));
        Ok(opened.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn none_yet(self, local: &GroupName) -> Result<Branches> {
        let name = match self.outer {
            Some(outer) => outer.name.join(local).map_err(|error| {
                Error::new(ErrorKind::InvalidInput, Operation::Create)
                    .with_group(local)
                    .because(error.to_string())
            })?,
            None => local.clone(),
        };
        Ok(Branches {
            place: Arc::clone(self.place),
            name,
            owner: None,
            all: Vec::new(),
            oom_events: OomEvents::default(),
            cpu_parts: Parts::default(),
        })
    }

    /// A hierarchy that the group around it did not join is entered from our own group there.
    fn spot(self, index: Index, local: &'a GroupName, full: &'a GroupName) -> Spot<'a> {
        let hierarchy = &self.place.hierarchies[index];
        let outer = self.outer.and_then(|outer| outer.all.iter().find(|b| b.index == index));
        match outer {
            Some(outer) => Spot { index, hierarchy, top: &outer.dir, name: local },
            None => Spot { index, hierarchy, top: &hierarchy.dir, name: full },
        }
    }
}

impl Branches {
    /// The descriptors that they have open.
    pub(crate) fn handles(&self) -> Vec<RawFd> {
        let branches = self.all.iter().flat_map(Branch::handles);
        branches.chain(self.place.handles()).chain(self.oom_events.handle()).collect()
    }

    /// The identities of the levels of a directory that is about to be made, by which they are
    /// found again.
    fn owners(&self) -> Vec<u64> {
        let levels = self.name.components().count();
        let Some(first) = self.all.first() else { return Vec::new() };
        let mut owners = Vec::new();
        let mut here = self.place.hierarchies[first.index].dir.clone();
        for level in self.name.components().take(levels - 1) {
            let Ok(below) = here.open_beneath(level) else { break };
            owners.push(below.inode().unwrap_or_default());
            here = below;
        }
        owners.resize(levels - 1, 0);
        owners.push(first.inode);
        owners
    }

    /// Removes a half-made group.
    fn abandon(&mut self) {
        for branch in self.all.drain(..).rev() {
            if let Err(failure) = branch.remove() {
                tracing::warn!(%failure, group = %self.name, "cannot remove a half-made group; remove it by hand");
            }
        }
    }

    /// The group's identity: the directory in its first hierarchy, unless another driver gives it.
    pub(crate) fn identity(&self) -> u64 {
        let first = self.all.first().map(|branch| branch.inode);
        self.owner.or(first).unwrap_or_default()
    }

    /// The directory in the hierarchy of a controller, if that was joined.
    pub(crate) fn serving(&self, controller: &str) -> Option<&Branch> {
        let index = self.place.serving(controller)?;
        self.all.iter().find(|branch| branch.index == index)
    }

    /// The group's path below the mount of a hierarchy.
    pub(crate) fn relative(&self, index: Index) -> PathBuf {
        self.place.hierarchies[index].relative.join(self.name.as_str())
    }

    /// Where the hierarchies that were joined are mounted.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = &Mounted> {
        self.all.iter().map(|branch| &self.place.hierarchies[branch.index].mounted)
    }

    /// The hierarchies that were joined.
    pub(crate) fn joined(&self) -> Vec<Index> {
        self.all.iter().map(|branch| branch.index).collect()
    }

    /// The same group with these directories in the hierarchies that it did not join: where its processes
    /// are.
    pub(crate) fn within(&self, around: &[Branch]) -> Self {
        let joined = self.joined();
        let others = around.iter().filter(|branch| !joined.contains(&branch.index));
        Self {
            place: Arc::clone(&self.place),
            name: self.name.clone(),
            owner: self.owner,
            all: self.all.iter().chain(others).cloned().collect(),
            oom_events: OomEvents::default(),
            cpu_parts: Parts::default(),
        }
    }

    /// Whether nothing of the group is left.
    pub(crate) fn are_gone(&self) -> bool {
        self.all.iter().all(|branch| branch.dir.is_gone())
    }

    /// Every process of the subtrees. One that stands in one hierarchy and not in another was moved
    /// by somebody, and is a member all the same.
    pub(crate) fn pids(&self) -> Result<Vec<Pid>, Failure> {
        let (mut pids, mut known) = (Vec::new(), HashSet::new());
        self.walk(|dir| {
            let listed = dir.pids("cgroup.procs")?.pids;
            pids.extend(listed.into_iter().filter(|pid| known.insert(*pid)));
            Ok(())
        })?;
        Ok(pids)
    }

    /// Those of `asked` that are in the subtrees. Only as many hierarchies are listed as it takes to see them all.
    pub(crate) fn members_among(&self, mut asked: HashSet<Pid>) -> Result<HashSet<Pid>, Failure> {
        let mut members = HashSet::new();
        self.walk(|dir| {
            if !asked.is_empty() {
                let listed = dir.pids("cgroup.procs")?.pids;
                members.extend(listed.into_iter().filter(|pid| asked.remove(pid)));
            }
            Ok(())
        })?;
        Ok(members)
    }

    /// Visits every directory of the group, and every one below them.
    pub(crate) fn walk(
        &self,
        mut visit: impl FnMut(&Dir) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.all.iter().try_for_each(|branch| branch.walk(&mut visit))
    }

    /// What a child writes `0` to in order to enter. `tasks` moves the writing thread alone, which is
    /// all that a child before its exec has, and takes no lock of the whole host as `cgroup.procs`
    /// does.
    pub(crate) fn entries(&self) -> Result<Vec<OwnedFd>, Failure> {
        self.all.iter().map(|branch| branch.dir.open_file("tasks", Access::Write)).collect()
    }

    /// Removes every directory, that of the identity last. With groups inside it (`nested`) also those
    /// in hierarchies that only they joined.
    ///
    /// # Errors
    /// The first failure; the other hierarchies are cleaned all the same.
    pub(crate) fn remove(&self, nested: bool) -> Result<(), Failure> {
        let removed = if nested { self.remove_strays() } else { Ok(()) };
        let rest = remove_all(&self.all);
        removed.and(rest)
    }

    /// Whether there are groups inside the group.
    pub(crate) fn are_nested(&self) -> Result<bool, Failure> {
        let first = self.all.first();
        first.map_or(Ok(false), |first| Ok(!first.dir.subdirectories()?.is_empty()))
    }

    fn remove_strays(&self) -> Result<(), Failure> {
        let top = Top { place: &self.place, outer: None };
        let known = self.joined();
        remove_all(&top.belonging_to(self.identity(), &self.name, &self.name, &known)?)
    }
}

/// The last first.
fn remove_all(branches: &[Branch]) -> Result<(), Failure> {
    let removed: Vec<_> = branches.iter().rev().map(Branch::remove).collect();
    removed.into_iter().collect()
}
