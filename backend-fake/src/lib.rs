//! An in-memory driver: a small model of kernel and processes under a virtual clock.
//!
//! Programs are [`Script`]s that a test registers by name; the [`Persona`] decides which backend is
//! modelled, with its guarantees and its weaknesses. Every operation can be made to fail, and every
//! call and every signal is on record. Nothing outside this process's memory is ever touched.
//!
//! ```
//! use std::time::Duration;
//! use backend_fake::{Fake, Script};
//! use containment_core::{CgroupOps, ControllerSet, Group, Policy, Program};
//!
//! let fake = Fake::v1();
//! fake.program("make", Script::new().forks(Duration::ZERO, Script::new()));
//! let ops = fake.create(&"build-42".parse()?, ControllerSet::EMPTY)?;
//! let job = Group::new(ops, fake.waiter());
//! job.spawn(&Program::new("make"))?;
//! let report = job.terminate(&Policy::graceful(Duration::from_secs(10)))?;
//! assert!(report.is_clean() && fake.snapshot().living().count() == 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod child;
mod clock;
mod driver;
mod group;
mod home;
mod inject;
mod persona;
mod record;
mod script;
mod world;

use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use containment_core::{Capabilities, Error, Operation, Pid, Time};

pub use inject::Fault;
pub use persona::Persona;
pub use record::{Call, ProcessView, SentSignal, Snapshot};
pub use script::Script;

use world::World;

/// A host that exists in memory only. Clones share it.
///
/// ```
/// use std::time::Duration;
/// use backend_fake::{Fake, Persona, Script};
/// use containment_core::{CgroupOps, ControllerSet, ErrorKind, Operation, Program, Signal};
///
/// let personas = [Fake::v2(), Fake::v2_without_kill(), Fake::v1(), Fake::hybrid(), Fake::process_group()];
/// assert_eq!(personas.map(|fake| fake.persona()), Persona::ALL);
/// let keeperless = Fake::process_group_without_keeper();
/// assert_eq!(keeperless.persona(), Persona::ProcessGroupWithoutKeeper);
///
/// let fake = Fake::with_persona(Persona::V1);
/// let second = Duration::from_secs(1);
/// fake.program("make", Script::new().works_every(second));
/// let group = fake.create(&"job".parse()?, ControllerSet::EMPTY)?;
/// let make = group.spawn(&Program::new("make"))?;
/// fake.advance(3 * second);
/// assert_eq!((fake.now().since(Default::default()), fake.snapshot().work), (3 * second, 3));
/// assert!(fake.snapshot().lives(make.pid()) && fake.snapshot().processes[0].runs);
///
/// // Faults, by kind or by errno, are met in this order.
/// fake.fail(Operation::Members, ErrorKind::PermissionDenied, 1);
/// fake.fail(Operation::Members, libc::EMFILE, 1);
/// assert_eq!(group.members().unwrap_err().kind(), ErrorKind::PermissionDenied);
/// assert_eq!(group.members().unwrap_err().errno(), Some(libc::EMFILE));
/// assert_eq!(group.members()?.len(), 1);
/// let call = fake.calls().pop().unwrap();
/// assert_eq!((call.method, call.failed), ("members", None));
///
/// // A process that is told what to do next, which makes it another world.
/// let before = fake.fingerprint();
/// fake.tell(make.pid(), Script::new().exits(second, 7));
/// assert_ne!(fake.fingerprint(), before);
/// group.signal(Signal::HUP)?;
/// let sent = fake.signals()[0];
/// assert_eq!((sent.signal, sent.to_member), (Signal::HUP, true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Fake {
    world: Shared,
    persona: Persona,
    capabilities: Capabilities,
}

impl Fake {
    /// The unified hierarchy, as [`Fake::v2`].
    pub fn new() -> Self {
        Self::with_persona(Persona::V2)
    }

    /// A host of this persona, without programs, processes or groups.
    pub fn with_persona(persona: Persona) -> Self {
        let world = Shared(Arc::new(Mutex::new(World::new(persona))));
        Self { world, persona, capabilities: persona.capabilities() }
    }

    /// The unified hierarchy: atomic kill, kernel freezer, events.
    pub fn v2() -> Self {
        Self::with_persona(Persona::V2)
    }

    /// The unified hierarchy before Linux 5.14: kills by freezing and signalling.
    pub fn v2_without_kill() -> Self {
        Self::with_persona(Persona::V2WithoutKill)
    }

    /// Hierarchies of cgroup version 1: frozen members die once they are thawed.
    pub fn v1() -> Self {
        Self::with_persona(Persona::V1)
    }

    /// Version 2 for process control, version 1 for limits.
    pub fn hybrid() -> Self {
        Self::with_persona(Persona::Hybrid)
    }

    /// Process groups with a keeper.
    pub fn process_group() -> Self {
        Self::with_persona(Persona::ProcessGroup)
    }

    /// Process groups held by their leader, which who leaves is lost to.
    pub fn process_group_without_keeper() -> Self {
        Self::with_persona(Persona::ProcessGroupWithoutKeeper)
    }

    /// Which backend is modelled.
    pub fn persona(&self) -> Persona {
        self.persona
    }

    /// Installs a program: what a process does that is spawned under this name.
    pub fn program(&self, name: impl Into<OsString>, script: Script) {
        self.world.lock().install(name.into(), script);
    }

    /// Starts a process that is in no group and no child of ours, and says its pid.
    pub fn start_outside(&self, script: Script) -> Pid {
        self.world.lock().start_outside(script)
    }

    /// Tells a living process what to do besides: the actions of `script`, counted from now, after
    /// ignoring the signals that it ignores. As everything else, that waits until it can run.
    pub fn tell(&self, pid: Pid, script: Script) {
        self.world.lock().tell(pid, script);
    }

    /// Ends an uninterruptible sleep. Nothing happens where there is none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use backend_fake::{Fake, Script};
    /// use containment_core::{CgroupOps, ControllerSet, Program, Signal};
    ///
    /// let fake = Fake::new();
    /// fake.program("dd", Script::new().sleeps_uninterruptibly(Duration::ZERO, Duration::MAX));
    /// let group = fake.create(&"job".parse()?, ControllerSet::EMPTY)?;
    /// let dd = group.spawn(&Program::new("dd"))?;
    /// fake.advance(Duration::from_secs(1));
    /// dd.signal(Signal::KILL)?;
    /// fake.advance(Duration::from_secs(60));
    /// assert!(fake.snapshot().lives(dd.pid()));
    /// fake.release(dd.pid());
    /// fake.advance(Duration::from_secs(1));
    /// assert!(!fake.snapshot().lives(dd.pid()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(&self, pid: Pid) {
        self.world.lock().release(pid);
    }

    /// Lets every freeze from now on take this long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use backend_fake::{Fake, Script};
    /// use containment_core::{CgroupOps, ControllerSet, FreezeState, Program};
    ///
    /// let fake = Fake::new();
    /// fake.program("make", Script::new());
    /// let group = fake.create(&"job".parse()?, ControllerSet::EMPTY)?;
    /// group.spawn(&Program::new("make"))?;
    /// fake.freezing_takes(Duration::from_millis(5));
    /// group.request_freeze()?;
    /// assert_eq!(group.frozen()?, FreezeState::Freezing);
    /// fake.advance(Duration::from_millis(5));
    /// assert_eq!(group.frozen()?, FreezeState::Frozen);
    ///
    /// group.request_thaw()?;
    /// fake.freezes_stick(1);
    /// group.request_freeze()?;
    /// fake.advance(Duration::from_secs(60));
    /// assert_eq!(group.frozen()?, FreezeState::Freezing);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn freezing_takes(&self, duration: Duration) {
        self.world.lock().freezing_takes = duration;
    }

    /// Lets the next `times` freezes never complete, although members stand still.
    pub fn freezes_stick(&self, times: u32) {
        self.world.lock().sticking_freezes = times;
    }

    /// Makes the next `times` calls of `operation` fail, after those that were made to fail before.
    ///
    /// A freeze that a kill step asks for counts as [`Operation::Freeze`], as does reading how far
    /// it has come. A spawn meets those of [`Operation::Spawn`] first, then those of [`Operation::Place`].
    pub fn fail(&self, operation: Operation, fault: impl Into<Fault>, times: usize) {
        self.world.lock().faults.add(operation, fault.into(), times);
    }

    /// The same with an error of the caller's making.
    ///
    /// ```
    /// use backend_fake::Fake;
    /// use containment_core::{CgroupOps, Error, ErrorKind, Operation};
    ///
    /// let fake = Fake::new();
    /// fake.fail_with(Operation::List, 1, || {
    ///     Error::new(ErrorKind::Malformed, Operation::List).with_path("cgroup.procs")
    /// });
    /// let error = fake.list().unwrap_err();
    /// assert_eq!((error.kind(), error.path()), (ErrorKind::Malformed, Some("cgroup.procs".as_ref())));
    /// assert!(fake.list()?.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fail_with(
        &self,
        operation: Operation,
        times: usize,
        make: impl Fn() -> Error + Send + Sync + 'static,
    ) {
        self.fail(operation, Fault::Made(Arc::new(make)), times);
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        let mut world = self.world.lock();
        let until = world.now + duration;
        world.pass_until(until);
    }

    /// The present moment.
    pub fn now(&self) -> Time {
        self.world.lock().now
    }

    /// What is there now.
    pub fn snapshot(&self) -> Snapshot {
        self.world.lock().snapshot()
    }

    /// A figure that two worlds share whose future is the same, whatever led to it. Faults that wait for
    /// their operation are no part of it.
    pub fn fingerprint(&self) -> u64 {
        self.world.lock().fingerprint()
    }

    /// Every call of the driver so far.
    pub fn calls(&self) -> Vec<Call> {
        self.world.lock().calls.clone()
    }

    /// Every signal that a process was sent so far, those of an atomic kill included.
    pub fn signals(&self) -> Vec<SentSignal> {
        self.world.lock().signals.clone()
    }
}

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}

/// The world, shared by the driver, its groups, its children and its clock.
#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<World>>);

impl Shared {
    /// A test that panicked leaves a world that is still consistent: every change is made in one call.
    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
