//! Where the processes of a group come from: what `/proc` says of the living, and, where the kernel may
//! be listened to, who their dead ancestors were.
//!
//! Without listening a chain ends where a parent is dead: the kernel gives the child another one, and
//! forgets. Listening takes privileges (`CAP_PERFMON`, or `kernel.perf_event_paranoid` at most 0) and has its
//! price, so it is for whoever asks for it.

mod arguments;
mod births;
mod hold;
mod lineage;
mod records;
mod ring;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use containment_core::{Link, Member, Origin, Pid, Source, Standing, Witness};

use crate::proc::{Process, ticks};
use arguments::arguments_of;
use births::{Births, since_boot};

/// So many processes are asked for their arguments, or for what holds them, at a time.
const ASKED: usize = 1024;

/// The longest chain that is followed through living parents.
const LINKS: usize = 256;

/// Where the processes of one group come from.
///
/// ```
/// use containment_core::{Link, Pid, Standing, Witness};
/// use containment_process::ancestry::Ancestry;
/// use containment_process::proc::Stat;
///
/// let ancestry = Ancestry::from_now_on();
/// // Who is privileged hears of the dead, too.
/// if let Err(error) = ancestry.listen() {
///     eprintln!("dead ancestors will not be known: {error}");
/// }
/// ancestry.spawned(Pid::current());
/// if !ancestry.sources().is_empty() {
///     ancestry.catch_up();
/// }
///
/// let us = Stat::read(Pid::current())?.expect("we live").member(Standing::Program);
/// let mut found = [us.clone()];
/// ancestry.trace(&mut found, &[us.clone()]);
/// let origin = found[0].origin.as_ref().unwrap();
/// assert!(origin.args.is_some());
/// assert_eq!(origin.chain, [Link::Process { pid: us.pid, comm: us.comm }]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Ancestry {
    /// When the group's story began, since boot.
    began: Option<Duration>,
    programs: Mutex<HashSet<Pid>>,
    births: OnceLock<Mutex<Births>>,
}

impl Ancestry {
    /// That of a group which is about to be made.
    pub fn from_now_on() -> Self {
        Self { began: Some(since_boot()), ..Self::of_existing() }
    }

    /// That of a group which somebody else has made: when is not known.
    pub fn of_existing() -> Self {
        Self { began: None, programs: Mutex::default(), births: OnceLock::new() }
    }

    /// Listens to the kernel: whoever descends from this process from now on has known ancestors, but for those
    /// whom a child of before starts, so that it is for the time before the first one. Done twice it is done once.
    ///
    /// # Errors
    /// `EACCES` or `EPERM` for who is not privileged; `E2BIG` and `EMFILE` where it would cost too much.
    pub fn listen(&self) -> io::Result<()> {
        if self.births.get().is_none() {
            let births = Births::listen()?;
            self.births.get_or_init(|| Mutex::new(births));
        }
        Ok(())
    }

    /// Ready when [`catch_up`](Self::catch_up) should be called, after which there may be others to watch.
    pub fn sources(&self) -> Vec<Source> {
        self.births().map_or_else(Vec::new, |births| births.sources().collect())
    }

    /// Takes in what the kernel told, so that it has room for more.
    pub fn catch_up(&self) {
        if let Some(mut births) = self.births() {
            births.catch_up();
        }
    }

    fn births(&self) -> Option<MutexGuard<'_, Births>> {
        self.births.get().map(|births| births.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn programs(&self) -> MutexGuard<'_, HashSet<Pid>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Ancestry {
    fn spawned(&self, program: Pid) {
        self.programs().insert(program);
    }

    fn trace(&self, found: &mut [Member], all: &[Member]) {
        let mut births = self.births();
        if let Some(births) = &mut births {
            births.finish();
        }
        let programs = self.programs();
        let by_pid = all.iter().map(|member| (member.pid, member)).collect();
        let family = Family { by_pid, programs: &programs, births: births.as_deref() };
        for (place, member) in found.iter_mut().enumerate() {
            let started = self.began.map(|began| ticks(member.started).saturating_sub(began));
            let args = if place < ASKED { arguments_of(member) } else { None };
            let chain = family.chain(member);
            member.origin = Some(Box::new(Origin { args, started, chain, held_by: None }));
        }
    }

    fn explain(&self, survivors: &mut [Member]) {
        for member in survivors.iter_mut().take(ASKED) {
            let Some(process) = Process::open(member.pid, member.started) else { continue };
            let origin = member.origin.get_or_insert_default();
            origin.held_by = Some(hold::hold_on(&process));
        }
    }
}

/// The members of a group at one moment, and who is known of those who were.
struct Family<'a> {
    by_pid: HashMap<Pid, &'a Member>,
    programs: &'a HashSet<Pid>,
    births: Option<&'a Births>,
}

impl Family<'_> {
    /// Who started `member`, outermost first, and itself.
    fn chain(&self, member: &Member) -> Vec<Link> {
        let mut links = vec![link(member)];
        let mut here = member;
        while links.len() < LINKS {
            if here.standing == Standing::Program {
                break;
            }
            if let Some(seen) = self.seen_ancestors(here) {
                links.extend(seen.into_iter().rev());
                break;
            }
            let Some(parent) = self.parent_of(here) else {
                links.push(Link::Unknown);
                break;
            };
            links.push(link(parent));
            here = parent;
        }
        links.reverse();
        links
    }

    /// The ancestors that were seen being born, from the group's program on.
    fn seen_ancestors(&self, member: &Member) -> Option<Vec<Link>> {
        let mut seen = self.births?.ancestors(member.pid, ticks(member.started))?;
        let is_program =
            |link: &Link| matches!(link, Link::Process { pid, .. } if self.programs.contains(pid));
        // Between us and the program there may be a keeper.
        let program = seen.iter().position(is_program).unwrap_or(0);
        Some(seen.split_off(program))
    }

    /// Its living parent in the group. Whoever started later was given the child when its own parent died,
    /// or has that one's pid.
    fn parent_of(&self, member: &Member) -> Option<&Member> {
        let parent = self.by_pid.get(&Pid::new(member.parent)?)?;
        (parent.started <= member.started && parent.pid != member.pid).then_some(*parent)
    }
}

fn link(member: &Member) -> Link {
    Link::Process { pid: member.pid, comm: member.comm.clone() }
}
