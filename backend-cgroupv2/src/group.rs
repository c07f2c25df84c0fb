//! One open group: its directory, its identity and what was started in it.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use containment_core::{
    Applied, Capabilities, Change, ChildOps, ControllerSet, Error, ErrorKind, FreezeState, GroupId,
    GroupName, GroupOps, HomeOps, Identity, KillStep, Limits, Member, Operation, Pid, Program,
    Reaped, Result, Signal, Signalled, Usage, Watch,
};
use containment_process::cgroupfs::{Dir, Failure, KeptOpen};
use containment_process::child::Programs;

use crate::confined::Confined;
use crate::controllers::{self, Controller, Controllers};
use crate::events::Watching;
use crate::home::Home;
use crate::host::Place;
use crate::top::Top;
use crate::usage;

/// A group of the unified hierarchy.
#[derive(Debug)]
pub struct V2Group {
    pub(crate) place: Arc<Place>,
    pub(crate) capabilities: Capabilities,
    pub(crate) id: GroupId,
    pub(crate) dir: Dir,
    /// Where its name below begins: the driver's parent group, or the group that it was made in.
    top: Dir,
    /// Its name below `top`.
    local: GroupName,
    /// The inodes of the levels directly above it that were made for it.
    made_above: Vec<u64>,
    /// Its path below the mount.
    pub(crate) relative: PathBuf,
    /// How often it was killed: a spawn that sees this change never runs its program.
    pub(crate) kills: AtomicU64,
    /// Whether children have to move themselves in.
    pub(crate) self_move: AtomicBool,
    /// The files of its figures, where they are kept open.
    pub(crate) files: KeptOpen,
    pub(crate) confined: Confined,
    pub(crate) events: Watching,
    pub(crate) programs: Programs,
    removed: AtomicBool,
}

impl V2Group {
    pub(crate) fn new(
        top: Top<'_>,
        local: &GroupName,
        name: GroupName,
        dir: Dir,
        made_above: Vec<u64>,
    ) -> Result<Self> {
        let opened = |failure: Failure| top.place.describe(failure.during(Operation::Open), &name);
        let inode = dir.inode().map_err(opened)?;
        let has = controllers::listed(&dir, "cgroup.controllers").map_err(opened)?;
        let confined = Confined::default();
        if has.contains(Controller::Cpuset) {
            confined.look(&top.place.dir, &dir).map_err(opened)?;
        }
        Ok(Self {
            confined,
            files: KeptOpen::new(dir.clone()),
            capabilities: top.place.capabilities_of(&dir, has),
            place: Arc::clone(top.place),
            relative: top.place.relative.join(name.as_str()),
            id: GroupId { backend: top.place.backend, name, identity: Identity::Cgroup(inode) },
            dir,
            top: top.dir.clone(),
            local: local.clone(),
            made_above,
            kills: AtomicU64::new(0),
            self_move: AtomicBool::new(false),
            events: Watching::default(),
            programs: Programs::default(),
            removed: AtomicBool::new(false),
        })
    }

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
    ///
    /// # Errors
    /// As that, and [`Gone`](ErrorKind::Gone) when this group was removed.
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
    ///
    /// # Errors
    /// Those of [`GroupOps::spawn`]; that one of the files refuses it is one of [`Operation::Place`], with the
    /// errno.
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
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) when this group was removed. One inside it that vanishes meanwhile is left
    /// out.
    pub fn open_subgroups(&self) -> Result<Vec<Self>> {
        self.refuse_removed(Operation::List)?;
        let names = self.dir.groups();
        let names = names.map_err(|failure| self.error(failure.during(Operation::List)))?;
        let mut groups = Vec::new();
        for name in names {
            match self.as_top().open(&name) {
                Ok(group) => groups.push(group),
                Err(error) if error.is_gone() => {}
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

    /// Has these controllers handed down to this group.
    pub(crate) fn take_on(&self, wanted: Controllers) -> Result<()> {
        let top = Top { place: &self.place, dir: &self.place.dir, outer: None };
        self.files.close();
        top.hand_down(&self.id.name, wanted).map_err(|error| error.during(Operation::SetLimits))
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
        &self.capabilities
    }

    fn leave_mark(&self, mark: &str) -> Result<bool> {
        self.refuse_removed(Operation::Register)?;
        let left = self.dir.leave_mark(mark);
        left.map_err(|failure| self.error(failure.during(Operation::Register)))
    }

    fn mark(&self) -> Result<Option<String>> {
        self.refuse_removed(Operation::Register)?;
        self.dir.mark().map_err(|failure| self.error(failure.during(Operation::Register)))
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

    fn program_runs(&self) -> bool {
        self.programs.any_runs()
    }

    fn members(&self) -> Result<Vec<Member>> {
        self.refuse_removed(Operation::Members)?;
        let members = self.programs.members(self.present(Operation::Members)?);
        members.map_err(|error| self.error(error))
    }

    fn populated(&self) -> Result<bool> {
        self.refuse_removed(Operation::Populated)?;
        self.read_event(|events| events.populated, Operation::Populated)
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
        Ok(self.apply(limits))
    }

    fn usage(&self) -> Result<Usage> {
        self.refuse_removed(Operation::Usage)?;
        let offered = self.place.offer.controllers;
        let usage = if self.place.sampling {
            usage::read(&self.files, offered)
        } else {
            usage::read(&self.dir, offered)
        };
        usage.map_err(|failure| self.error(failure.during(Operation::Usage)))
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

    fn handles(&self) -> Vec<RawFd> {
        let dirs = [&self.place.mount, &self.place.dir, &self.top, &self.dir];
        let mut handles: Vec<_> = dirs.into_iter().map(AsRawFd::as_raw_fd).collect();
        handles.extend(self.files.handles());
        handles.extend(self.events.handles());
        handles.extend(self.programs.handles());
        handles
    }

    fn remove(&self) -> Result<()> {
        self.refuse_removed(Operation::Remove)?;
        self.programs.refuse_dying(&self.id.name).map_err(|error| self.error(error))?;
        let removed = self.top.remove_named(&self.local, self.inode());
        removed.map_err(|failure| self.error(failure.during(Operation::Remove)))?;
        self.removed.store(true, Ordering::Release);
        // Who died between the last reaping and the removal; nobody asks the group for it again.
        if let Err(error) = self.programs.reap() {
            tracing::warn!(%error, group = %self.id.name, "a program may be left a zombie");
        }
        self.top.remove_levels_above(&self.local, &self.made_above);
        Ok(())
    }
}
