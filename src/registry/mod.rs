//! The registry: which groups there are, who owns them, and what they are known by, in a state
//! directory that outlives its writers.
//!
//! A file for each group, made before the group's first directory: that reserves the name. A file for
//! each owner, locked for as long as it lives. What is on record is a claim; whoever acts on it looks
//! for the mark on the group itself first.

mod claim;
mod directory;
mod entry;
mod existing;
mod owner;
mod process;
mod programs;
mod recover;
mod registered;

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use containment_core::{Backend, Error, ErrorKind, GroupName, Operation, Result};
use containment_process::proc::{Base, boot_id};

use crate::keeping::Helpers;
pub use claim::Claim;
use claim::fresh_mark;
use directory::{StateDir, TEMPORARY, file_name};
pub use entry::Entry;
pub(crate) use entry::WrittenId;
pub use owner::Owner;
pub(crate) use owner::OwnerLock;
pub use process::Process;
pub use programs::KeptProgram;
pub(crate) use programs::{WrittenOutcome, warn};
pub use recover::Collected;
pub(crate) use registered::RegisteredDriver;

/// An open registry.
///
/// What fails in its state directory is an error of [`Operation::Register`] with the path and a remedy:
/// [`PermissionDenied`](ErrorKind::PermissionDenied) where we may not write, and for a file that is no plain
/// one or not ours alone, else [`System`](ErrorKind::System) with the errno, as where the disk is full.
///
/// ```
/// use containment::Containment;
/// use containment::registry::{Owner, Registry, Tenure};
///
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let registry = Registry::open(Some(directory))?;
/// let host = Containment::builder().registry(&registry, Tenure::Owner).build()?;
/// let job = host.group(format!("ci-{}", std::process::id())).create()?;
///
/// let entry = registry.find(&job.id().name, None)?;
/// assert_eq!(entry.id().as_ref(), Some(job.id()));
/// assert_eq!(registry.owner(&entry)?, Owner::Alive);
/// assert!(registry.collect(false)?.removed.is_empty(), "its owner lives");
/// drop(job);
/// assert!(registry.entries()?.is_empty());
/// registry.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Registry {
    dir: StateDir,
    lock: Arc<Mutex<Option<OwnerLock>>>,
    helpers: Helpers,
}

/// How long a group is to be on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenure {
    /// For as long as this process lives: after that `gc` ends it.
    Owner,
    /// Until it is removed.
    Lasting,
}

impl Registry {
    /// Opens the registry in `directory`, or in the first that can be used of `$XDG_RUNTIME_DIR/contain`,
    /// `/run/contain` (root) and `/tmp/contain-UID`.
    ///
    /// # Errors
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) for a directory that belongs to somebody else,
    /// or that others may write to; those of the file system.
    pub fn open(directory: Option<&Path>) -> Result<Self> {
        Ok(Self::of(StateDir::open(directory)?))
    }

    /// Takes over the state directory of the process that handed it to us; its path is for messages.
    pub(crate) fn adopt(directory: OwnedFd, path: &Path) -> Result<Self> {
        StateDir::adopt(directory, path).map(Self::of)
    }

    fn of(dir: StateDir) -> Self {
        Self { dir, lock: Arc::default(), helpers: Arc::default() }
    }

    /// The helpers that this process has for it.
    pub(crate) fn helpers(&self) -> &Helpers {
        &self.helpers
    }

    /// Takes the guardian's place beside the lock of `owner`.
    pub(crate) fn stand_beside(&self, owner: Process) -> Result<Option<OwnerLock>> {
        OwnerLock::beside(&self.dir, owner)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Puts a group on record that is about to be made. This reserves its name.
    ///
    /// [`Builder::registry`](crate::Builder::registry) has this done for every group. It is for whoever makes a
    /// group by a driver alone and wants `gc` to know of it: claim it, make it, leave the entry's mark on it
    /// ([`GroupOps::leave_mark`](containment_core::GroupOps::leave_mark)), then [`identify`](Claim::identify) it. Call
    /// it where this process was when the driver was probed: `gc` looks for the group from there.
    ///
    /// ```
    /// use containment::registry::{Owner, Process, Registry, Tenure};
    /// use containment::{Backend, ErrorKind, Identity};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// let registry = Registry::open(Some(directory))?;
    /// let name = "by-hand".parse()?;
    /// let mut claim = registry.claim(&name, Backend::CgroupV2, None, Tenure::Lasting)?;
    /// // The group is made, and carries the mark.
    /// assert!(!claim.entry().mark.is_empty());
    /// claim.identify(Identity::Cgroup(4711))?;
    /// claim.note_program(Process { pid: 42, started: 99 })?;
    ///
    /// let entry = registry.entry(&name)?.expect("it is on record");
    /// assert_eq!(&entry, claim.entry());
    /// assert_eq!(registry.owner(&entry)?, Owner::None);
    /// assert!(registry.programs(&entry)?.is_empty(), "no keeper waits for one");
    /// let again = registry.claim(&name, Backend::CgroupV2, None, Tenure::Owner);
    /// assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
    ///
    /// claim.release()?;
    /// assert!(registry.entry(&name)?.is_none());
    /// registry.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists), with the remedy.
    pub fn claim(
        &self,
        name: &GroupName,
        backend: Backend,
        parent: Option<&Path>,
        tenure: Tenure,
    ) -> Result<Claim> {
        self.claim_from(&Base::default(), name, backend, parent, tenure)
    }

    /// The same of a group whose driver was found on this base.
    fn claim_from(
        &self,
        base: &Base,
        name: &GroupName,
        backend: Backend,
        parent: Option<&Path>,
        tenure: Tenure,
    ) -> Result<Claim> {
        let (boot, home, us) = (this_boot()?, home(base)?, Process::current()?);
        // Last of all: what fails before it leaves no lock behind.
        let owner = match tenure {
            Tenure::Owner => Some(self.lock_of(|| Ok(us))?.process),
            Tenure::Lasting => None,
        };
        let entry = Entry {
            name: name.clone(),
            backend,
            identity: None,
            mark: fresh_mark(us),
            owner,
            boot,
            created: now(),
            parent: parent.map(PathBuf::from),
            home,
            program: None,
        };
        match Claim::create(self.dir.clone(), entry) {
            Ok(claim) => Ok(claim),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(self.taken(name)),
            Err(error) => Err(error.with_group(name)),
        }
    }

    fn taken(&self, name: &GroupName) -> Error {
        let owner = self.entry(name).ok().flatten().map(|entry| self.owner(&entry));
        let remedy = match owner {
            Some(Ok(Owner::Dead)) => "its owner is dead: end what is left of it with contain gc",
            _ => "choose another name, or remove that group",
        };
        Error::new(ErrorKind::AlreadyExists, Operation::Create).with_group(name).advise(remedy)
    }

    /// The group of this name, if one is on record.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a file that is no entry, or one of another version;
    /// those of the state directory.
    pub fn entry(&self, name: &GroupName) -> Result<Option<Entry>> {
        let file = entry_file(name);
        let entry = self.dir.read(&file)?.map(|text| Entry::from_text(&text)).transpose();
        let entry = entry.map_err(|error| error.with_path(self.path().join(&file)))?;
        Ok(entry.filter(|entry| entry.name == *name))
    }

    /// Every group on record, by name; what cannot be read is an error of its own.
    ///
    /// # Errors
    /// Those of the state directory itself.
    pub fn entries(&self) -> Result<Vec<Result<Entry>>> {
        let names = self.dir.names()?;
        let files = names.iter().filter_map(|name| name.to_str());
        let entries = files.filter(|name| name.starts_with(ENTRY)).filter_map(|file| {
            let text = self.dir.read(file).transpose()?;
            let entry = text.and_then(|text| Entry::from_text(&text));
            Some(entry.map_err(|error| error.with_path(self.path().join(file))))
        });
        Ok(entries.collect())
    }

    /// Whether a group's owner lives.
    ///
    /// # Errors
    /// Those of the state directory, and when `/proc` cannot be read.
    pub fn owner(&self, entry: &Entry) -> Result<Owner> {
        let Some(process) = entry.owner else { return Ok(Owner::None) };
        if entry.boot != this_boot()? {
            return Ok(Owner::Dead);
        }
        Ok(if owner::lives(&self.dir, process)? { Owner::Alive } else { Owner::Dead })
    }

    /// Lets a group live on after this process: from now on it is nobody's, and stays until it is removed.
    ///
    /// ```
    /// use containment::registry::{Owner, Registry, Tenure};
    /// use containment::{Backend, Containment, ErrorKind, Program};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// let registry = Registry::open(Some(directory))?;
    /// let builder = Containment::builder().backend(Backend::ProcessGroup);
    /// let host = builder.registry(&registry, Tenure::Owner).build()?;
    /// let web = host.group(format!("web-{}", std::process::id())).create()?;
    /// let server = web.spawn(&Program::new("sleep").arg("1000"))?;
    /// let name = web.id().name.clone();
    ///
    /// registry.disown(&name)?;
    /// web.keep();
    /// let entry = registry.find(&name, Some(Backend::ProcessGroup))?;
    /// assert_eq!(registry.owner(&entry)?, Owner::None);
    /// assert_eq!(registry.collect(false)?.kept, [name.clone()]);
    ///
    /// // Whoever wants it to end.
    /// assert!(registry.open_group(&entry)?.populated()?);
    /// let (opened, programs) = registry.reopen(&entry)?;
    /// assert!(programs.is_empty(), "no keeper waits for one");
    /// assert_eq!(opened.id().name, name);
    /// let opened = registry.open_existing(&entry)?;
    /// assert_eq!(opened.ops().members()?[0].pid, server.pid());
    /// assert_eq!(registry.remove(&entry).unwrap_err().kind(), ErrorKind::Busy);
    /// registry.remove_by_force(&entry)?;
    /// assert!(registry.entry(&name)?.is_none());
    /// registry.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`entry`](Self::entry). That the group is not on record is none.
    pub fn disown(&self, name: &GroupName) -> Result<()> {
        let Some(mut entry) = self.entry(name)? else { return Ok(()) };
        entry.owner = None;
        self.dir.replace(&entry_file(name), &entry.to_text()?)
    }

    /// Strikes a group off the record, with what is written down of its programs. The group itself is left
    /// alone: [`remove`](Self::remove) ends that first. It is for whoever removed the group by other means.
    ///
    /// ```
    /// use containment::Backend;
    /// use containment::registry::{Registry, Tenure};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// let registry = Registry::open(Some(directory))?;
    /// let name = "removed-by-hand".parse()?;
    /// registry.claim(&name, Backend::CgroupV1, None, Tenure::Lasting)?;
    /// registry.forget(&name)?;
    /// registry.tidy()?;
    /// assert_eq!(std::fs::read_dir(registry.path())?.count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of the state directory. That the group is not on record is none.
    pub fn forget(&self, name: &GroupName) -> Result<()> {
        self.forget_programs(name)?;
        self.dir.remove(&entry_file(name))
    }

    /// Strikes a group off the record, unless its name has been given to another one meanwhile.
    pub(crate) fn forget_entry(&self, entry: &Entry) -> Result<()> {
        let is_there = self.entry(&entry.name)?.is_some_and(|now| now.mark == entry.mark);
        if is_there { self.forget(&entry.name) } else { Ok(()) }
    }

    /// Removes what dead processes left here besides entries: locks that nobody holds, half-written
    /// files. A lock that nobody holds yet is its owner's as long as that runs: it is about to be taken.
    /// [`collect`](Self::collect) ends with it; it is for whoever wants that without ending a group.
    ///
    /// # Errors
    /// The first of those of the state directory, and when `/proc` cannot be read: what comes after it is
    /// left there.
    pub fn tidy(&self) -> Result<()> {
        for name in self.dir.names()?.iter().filter_map(|name| name.to_str()) {
            let is_dead = match owner::process_of(name) {
                Some(process) => !process.runs()? && !owner::lives(&self.dir, process)?,
                None => name.starts_with(TEMPORARY) && !is_being_written(name)?,
            };
            if is_dead {
                self.dir.remove(name)?;
            }
        }
        self.tidy_programs()
    }

    /// The lock that tells that this process lives.
    pub(crate) fn lock(&self) -> Result<OwnerLock> {
        self.lock_of(Process::current)
    }

    fn lock_of(&self, us: impl FnOnce() -> Result<Process>) -> Result<OwnerLock> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = &*lock {
            return Ok(lock.clone());
        }
        Ok(lock.insert(OwnerLock::take(&self.dir, us()?)?).clone())
    }

    /// The descriptors that a guardian needs to strike groups off the record.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Lets go of what tells that this process lives: nothing on record is its own any more.
    ///
    /// # Errors
    /// Those of the state directory.
    pub fn close(&self) -> Result<()> {
        let taken = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.map_or(Ok(()), |lock| self.dir.remove(&owner::file_name(lock.process)))
    }
}

/// How the names of entries begin.
const ENTRY: &str = "group-";

fn entry_file(name: &GroupName) -> String {
    file_name(ENTRY, name.as_str())
}

/// Half-written files carry the writer's pid.
fn is_being_written(name: &str) -> Result<bool> {
    let pid = name.strip_prefix(TEMPORARY).and_then(|rest| rest.split('-').next());
    match pid.and_then(|pid| pid.parse().ok()).and_then(containment_core::Pid::new) {
        Some(pid) => Ok(Process::of(pid)?.is_some()),
        None => Ok(false),
    }
}

fn this_boot() -> Result<String> {
    let boot = boot_id().map_err(|error| Error::from_io(Operation::Register, &error))?;
    Ok(boot.to_string())
}

/// The groups from where groups are made, as the kernel tells them; none on a kernel without cgroups.
fn home(base: &Base) -> Result<String> {
    match base.memberships() {
        Ok(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Error::from_io(Operation::Register, &error)),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
