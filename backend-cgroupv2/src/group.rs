//! One open group: its directory, its identity and what was started in it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use containment_core::{
    Applied, Capabilities, Change, ChildOps, ControllerSet, Error, ErrorKind, FreezeState, GroupId,
    GroupName, GroupOps, HomeOps, Identity, InvalidName, KillStep, Limits, Member, Operation, Pid,
    Program, Reaped, Result, Signal, Signalled, Standing, Usage, Watch,
};
use containment_process::cgroupfs::Dir;
use containment_process::child::Programs;
use containment_process::proc::Stat;

use crate::events::Events;
use crate::home::Home;
use crate::host::Place;

/// A group of the unified hierarchy.
#[derive(Debug)]
pub struct V2Group {
    pub(crate) place: Arc<Place>,
    pub(crate) id: GroupId,
    pub(crate) dir: Dir,
    /// Where its name below begins: the driver's parent group, or the group that it was made in.
    top: Dir,
    /// Its name below `top`.
    local: GroupName,
    /// How many levels directly above it were made for it.
    made_above: usize,
    /// Its path below the mount.
    pub(crate) relative: PathBuf,
    /// How often it was killed: a spawn that sees this change never runs its program.
    pub(crate) kills: AtomicU64,
    /// Whether children have to move themselves in.
    pub(crate) self_move: AtomicBool,
    pub(crate) events: Events,
    pub(crate) programs: Programs,
    removed: AtomicBool,
}

/// Where a group's name begins: a directory, and the name of the group that this is, if it is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Top<'a> {
    pub(crate) place: &'a Arc<Place>,
    pub(crate) dir: &'a Dir,
    pub(crate) outer: Option<&'a GroupName>,
}

impl Top<'_> {
    /// Makes the group, and the levels of its name that are missing.
    pub(crate) fn create(self, name: &GroupName, with: ControllerSet) -> Result<V2Group> {
        let full = self.full_name(name, Operation::Create)?;
        refuse_controllers(self.place, &full, with)?;
        let (dir, made_above) = self.dir.create_levels(name, |_| Ok(())).map_err(|failure| {
            let error = self.place.describe(failure.during(Operation::Create), &full);
            match error.kind() {
                ErrorKind::AlreadyExists => {
                    error.advise("choose another name, or remove that group")
                }
                ErrorKind::NotFound if self.dir.is_gone() => {
                    error.with_kind(ErrorKind::Gone).with_group(self.outer.unwrap_or(&full))
                }
                _ => error,
            }
        })?;
        self.group(name, full, dir, made_above)
    }

    /// Opens the group of that name as it is now.
    pub(crate) fn open(self, name: &GroupName) -> Result<V2Group> {
        let full = self.full_name(name, Operation::Open)?;
        let dir = self.dir.open_beneath(name.as_str());
        let dir =
            dir.map_err(|failure| self.place.describe(failure.during(Operation::Open), &full))?;
        self.group(name, full, dir, 0)
    }

    /// The name below the driver's parent group.
    fn full_name(self, local: &GroupName, operation: Operation) -> Result<GroupName> {
        let Some(outer) = self.outer else { return Ok(local.clone()) };
        let too_long = |error: InvalidName| {
            self.place
                .describe(Error::new(ErrorKind::InvalidInput, operation), outer)
                .because(error.to_string())
        };
        outer.join(local).map_err(too_long)
    }

    fn group(
        self,
        local: &GroupName,
        name: GroupName,
        dir: Dir,
        made_above: usize,
    ) -> Result<V2Group> {
        let inode = dir
            .inode()
            .map_err(|failure| self.place.describe(failure.during(Operation::Open), &name))?;
        let backend = self.place.backend;
        Ok(V2Group {
            place: Arc::clone(self.place),
            relative: self.place.relative.join(name.as_str()),
            id: GroupId { backend, name, identity: Identity::Cgroup(inode) },
            dir,
            top: self.dir.clone(),
            local: local.clone(),
            made_above,
            kills: AtomicU64::new(0),
            self_move: AtomicBool::new(false),
            events: Events::default(),
            programs: Programs::default(),
            removed: AtomicBool::new(false),
        })
    }
}

impl V2Group {
    /// Its cgroup id: the directory's inode number.
    pub fn inode(&self) -> u64 {
        match self.id.identity {
            Identity::Cgroup(inode) => inode,
            _ => 0,
        }
    }

    /// The cgroup ids of the levels of its name, outermost first, its own last; 0 for one that cannot be
    /// told.
    pub fn inodes(&self) -> Vec<u64> {
        let levels = self.id.name.components().count();
        let mut inodes = Vec::new();
        let mut here = self.place.dir.clone();
        for level in self.id.name.components().take(levels - 1) {
            let Ok(below) = here.open_beneath(level) else { break };
            inodes.push(below.inode().unwrap_or_default());
            here = below;
        }
        inodes.resize(levels - 1, 0);
        inodes.push(self.inode());
        inodes
    }

    /// Makes a group inside this one like [`CgroupV2::create_joined`](crate::CgroupV2::create_joined).
    pub fn subgroup_joined<T>(
        &self,
        name: &GroupName,
        also: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<(Self, T)> {
        self.refuse_removed(Operation::Create)?;
        self.as_top().create(name, ControllerSet::EMPTY)?.joined(also)
    }

    /// Starts a program that also writes `0` to these files of other hierarchies before it executes
    /// anything (v1: `tasks`).
    pub fn spawn_joined(&self, program: &Program, also: &[OwnedFd]) -> Result<Box<dyn ChildOps>> {
        self.refuse_removed(Operation::Spawn)?;
        let child = self.start(program, also)?;
        self.programs.add(child.clone());
        Ok(Box::new(child))
    }

    /// Whether there are, or may be, groups inside it.
    pub fn is_nested(&self) -> bool {
        let inner = self.dir.subdirectories();
        inner.map_or(true, |inner| !inner.is_empty() || self.dir.is_gone())
    }

    /// The groups directly inside this one.
    pub fn open_subgroups(&self) -> Result<Vec<Self>> {
        self.refuse_removed(Operation::List)?;
        let names = self.dir.groups();
        let names = names.map_err(|failure| self.error(failure.during(Operation::List)))?;
        let mut groups = Vec::new();
        for name in names {
            match self.as_top().open(&name) {
                Ok(group) => groups.push(group),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Gone) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(groups)
    }

    /// This new group and what is made besides it, or nothing of either.
    pub(crate) fn joined<T>(self, also: impl FnOnce(&Self) -> Result<T>) -> Result<(Self, T)> {
        match also(&self) {
            Ok(made) => Ok((self, made)),
            Err(error) => {
                // The reason why it is of no use is what gets reported.
                let _ = self.remove();
                Err(error)
            }
        }
    }

    fn as_top(&self) -> Top<'_> {
        Top { place: &self.place, dir: &self.dir, outer: Some(&self.id.name) }
    }

    fn refuse_removed(&self, operation: Operation) -> Result<()> {
        if self.removed.load(Ordering::Acquire) {
            return Err(self.error(Error::new(ErrorKind::Gone, operation)));
        }
        Ok(())
    }

    pub(crate) fn error(&self, error: Error) -> Error {
        self.place.describe(error, &self.id.name)
    }

    pub(crate) fn errno(&self, operation: Operation, errno: rustix::io::Errno) -> Error {
        self.error(Error::from_errno(operation, errno.raw_os_error()))
    }
}

impl GroupOps for V2Group {
    fn id(&self) -> &GroupId {
        &self.id
    }

    fn capabilities(&self) -> &Capabilities {
        &self.place.capabilities
    }

    fn spawn(&self, program: &Program) -> Result<Box<dyn ChildOps>> {
        self.spawn_joined(program, &[])
    }

    fn attach(&self, pid: Pid) -> Result<()> {
        self.refuse_removed(Operation::Attach)?;
        self.move_in(pid)
    }

    fn home(&self) -> Result<Box<dyn HomeOps>> {
        self.refuse_removed(Operation::Attach)?;
        Ok(Box::new(Home::of_caller(&self.place).map_err(|error| self.error(error))?))
    }

    fn subgroup(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        self.refuse_removed(Operation::Create)?;
        Ok(Box::new(self.as_top().create(name, with)?))
    }

    fn subgroups(&self) -> Result<Vec<Box<dyn GroupOps>>> {
        let groups = self.open_subgroups()?.into_iter();
        Ok(groups.map(|group| Box::new(group) as Box<dyn GroupOps>).collect())
    }

    fn members(&self) -> Result<Vec<Member>> {
        self.refuse_removed(Operation::Members)?;
        let programs = self.programs.running();
        let mut members = Vec::new();
        for pid in self.pids(Operation::Members)? {
            let stat = Stat::read(pid).map_err(|error| {
                self.error(Error::from_io(Operation::Members, &error)).with_pid(pid)
            })?;
            let program = programs.contains(&pid);
            let standing = if program { Standing::Program } else { Standing::Inside };
            members.extend(stat.map(|stat| stat.member(standing)));
        }
        Ok(members)
    }

    fn populated(&self) -> Result<bool> {
        self.refuse_removed(Operation::Populated)?;
        self.read_event("populated", Operation::Populated)
    }

    fn signal(&self, signal: Signal) -> Result<Signalled> {
        self.refuse_removed(Operation::Signal)?;
        self.signal_pass(signal)
    }

    fn kill(&self) -> Result<KillStep> {
        self.refuse_removed(Operation::Kill)?;
        self.kill_step()
    }

    fn request_freeze(&self) -> Result<()> {
        self.refuse_removed(Operation::Freeze)?;
        self.freeze()
    }

    fn request_thaw(&self) -> Result<()> {
        self.refuse_removed(Operation::Thaw)?;
        self.thaw()
    }

    fn frozen(&self) -> Result<FreezeState> {
        self.refuse_removed(Operation::Freeze)?;
        self.freeze_state(Operation::Freeze)
    }

    fn set_limits(&self, limits: &Limits) -> Result<Applied> {
        self.refuse_removed(Operation::SetLimits)?;
        let refused = limits.asked().iter().map(|limit| (limit, self.error(no_controllers())));
        Ok(Applied { applied: Vec::new(), refused: refused.collect() })
    }

    fn usage(&self) -> Result<Usage> {
        self.refuse_removed(Operation::Usage)?;
        self.read_usage()
    }

    fn oom_kills(&self) -> Result<u64> {
        self.refuse_removed(Operation::Usage)?;
        self.count_oom_kills()
    }

    fn watch(&self, change: Change) -> Result<Watch> {
        self.refuse_removed(Operation::Watch)?;
        match change {
            Change::Oom => self.watch_oom(),
            Change::Empty => self.watch_empty(),
            // The event can come 13 ms after the state (rate limit): a freeze is done in less, so
            // the state is read after pauses instead.
            Change::Frozen => Ok(Watch::Backoff),
        }
    }

    fn reap(&self) -> Result<Reaped> {
        self.refuse_removed(Operation::Reap)?;
        self.programs.reap()
    }

    fn remove(&self) -> Result<()> {
        self.refuse_removed(Operation::Remove)?;
        let removed = self.top.remove_named(&self.local, self.inode());
        removed.map_err(|failure| self.error(failure.during(Operation::Remove)))?;
        self.removed.store(true, Ordering::Release);
        // Who died between the last reaping and the removal; nobody asks the group for it again.
        if let Err(error) = self.programs.reap() {
            tracing::warn!(%error, group = %self.id.name, "a program may be left a zombie");
        }
        self.top.remove_levels_above(&self.local, self.made_above);
        Ok(())
    }
}

fn refuse_controllers(place: &Place, name: &GroupName, with: ControllerSet) -> Result<()> {
    if with.is_empty() { Ok(()) } else { Err(place.describe(no_controllers(), name)) }
}

fn no_controllers() -> Error {
    Error::new(ErrorKind::Unsupported, Operation::SetLimits)
        .because("this backend does not have this limit")
        .advise("leave the limit out, or run with --best-effort")
}
