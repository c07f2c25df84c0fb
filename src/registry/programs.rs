//! The programs of groups that outlive their owner, and how they ended: written down by whoever waits for
//! each of them, its keeper, so that an owner that is started again loses no result.
//!
//! A file for each program, made when it starts and replaced when it has ended, before it is reaped. It
//! goes with the entry of its group.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

use backend_pgrp::Recorder;
use containment_core::{
    Child, ChildOps, Error, ErrorKind, GroupId, GroupName, OpenGroup, Operation, Outcome, Pid,
    Result, Signal, SystemWaiter, Watch,
};
use containment_process::pidfd::PidFd;
use serde::{Deserialize, Serialize};

use super::directory::file_name;
use super::{Entry, Process, Registry, this_boot};

/// The version of the format that this program writes, and the only one that it reads.
const VERSION: u32 = 1;

/// How the names of programs' files begin.
pub(super) const PREFIX: &str = "program-";

/// A program of a group on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptProgram {
    /// The program.
    pub process: Process,
    /// Who waits for it.
    pub keeper: Process,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    version: u32,
    group: String,
    mark: String,
    boot: String,
    program: Process,
    keeper: Process,
    outcome: Option<WrittenOutcome>,
}

/// An outcome as it is written everywhere.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WrittenOutcome {
    Exited(i32),
    Signaled(i32),
}

impl WrittenOutcome {
    pub(crate) fn new(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Exited(status) => Self::Exited(status),
            Outcome::Signaled(signal) => Self::Signaled(signal.as_raw()),
        }
    }

    pub(crate) fn read(self) -> Option<Outcome> {
        match self {
            Self::Exited(status) => Some(Outcome::Exited(status)),
            Self::Signaled(signal) => Signal::new(signal).map(Outcome::Signaled),
        }
    }
}

impl Registry {
    /// The programs that keepers wait for, or waited for, in the group of an entry, by pid: how each
    /// ended is there whatever became of the process that started it.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a file that is no record of a program, or one of another
    /// version; those of the state directory.
    pub fn programs(&self, entry: &Entry) -> Result<Vec<KeptProgram>> {
        let boot = this_boot()?;
        let mut programs = Vec::new();
        for file in self.program_files(&entry.name)? {
            let Some(written) = self.read_program(&file)? else { continue };
            if written.mark == entry.mark && written.boot == boot {
                let outcome = written.outcome.map(|outcome| {
                    outcome.read().ok_or_else(|| self.malformed_program(&file, "no such signal"))
                });
                let outcome = outcome.transpose()?;
                let (process, keeper) = (written.program, written.keeper);
                programs.push(KeptProgram { process, keeper, outcome });
            }
        }
        programs.sort_by_key(|program| (program.process.pid, program.process.started));
        Ok(programs)
    }

    /// Opens the group of an entry with its programs, each of which can be waited for like one of ours: for
    /// an owner that was started again.
    ///
    /// # Errors
    /// Those of [`open_group`](Self::open_group).
    pub fn reopen(&self, entry: &Entry) -> Result<(OpenGroup, Vec<Child>)> {
        let group = self.open_existing(entry)?;
        let child = |program: KeptProgram| {
            let process = open(program.process)?;
            let recorded =
                Recorded { registry: self.clone(), entry: entry.clone(), program, process };
            Ok(Child::new(Box::new(recorded), Arc::new(SystemWaiter::new())))
        };
        let programs = self.programs(entry)?.into_iter().map(child).collect::<Result<_>>()?;
        Ok((group, programs))
    }

    /// Writes down that a program runs, which this process waits for.
    pub(crate) fn note_started(&self, group: &GroupName, program: Pid) -> Result<()> {
        self.note(group, program, None)
    }

    /// Writes down how a program ended that was not reaped yet.
    pub(crate) fn note_ended(&self, group: &GroupName, program: Pid, end: Outcome) -> Result<()> {
        self.note(group, program, Some(end))
    }

    fn note(&self, group: &GroupName, program: Pid, outcome: Option<Outcome>) -> Result<()> {
        // A group that is off the record by now has nobody who would ask.
        let Some(entry) = self.entry(group)? else { return Ok(()) };
        let Some(program) = Process::of(program)? else { return Ok(()) };
        let written = Written {
            version: VERSION,
            group: group.to_string(),
            mark: entry.mark,
            boot: entry.boot,
            program,
            keeper: Process::current()?,
            outcome: outcome.map(WrittenOutcome::new),
        };
        let file = format!("{}{}-{}", prefix_of(group), program.pid, program.started);
        let text = serde_json::to_vec(&written);
        let text = text.map_err(|error| self.malformed_program(&file, &error.to_string()))?;
        match outcome {
            None => self.dir.replace(&file, &text),
            Some(_) => self.dir.update(&file, &text),
        }
    }

    /// Removes what is written down of a group's programs.
    pub(super) fn forget_programs(&self, group: &GroupName) -> Result<()> {
        self.program_files(group)?.iter().try_for_each(|file| self.dir.remove(file))
    }

    /// Removes what is written down of programs whose groups are off the record.
    pub(super) fn tidy_programs(&self) -> Result<()> {
        for name in self.dir.names()?.iter().filter_map(|name| name.to_str()) {
            let Some((group, _)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('='))
            else {
                continue;
            };
            if self.dir.read(&format!("{}{group}", super::ENTRY))?.is_none() {
                self.dir.remove(name)?;
            }
        }
        Ok(())
    }

    fn program_files(&self, group: &GroupName) -> Result<Vec<String>> {
        let prefix = prefix_of(group);
        let names = self.dir.names()?.into_iter().filter_map(|name| name.into_string().ok());
        Ok(names.filter(|name| name.starts_with(&prefix)).collect())
    }

    fn read_program(&self, file: &str) -> Result<Option<Written>> {
        let Some(text) = self.dir.read(file)? else { return Ok(None) };
        let written: Written = serde_json::from_slice(&text)
            .map_err(|error| self.malformed_program(file, &error.to_string()))?;
        if written.version != VERSION {
            let why =
                format!("it has version {}, and this program knows {VERSION}", written.version);
            return Err(self
                .malformed_program(file, &why)
                .advise("use the version of contain that wrote it"));
        }
        if written.program.pid <= 0 || written.keeper.pid <= 0 {
            return Err(self.malformed_program(file, "there is no such pid"));
        }
        Ok(Some(written))
    }

    fn malformed_program(&self, file: &str, why: &str) -> Error {
        Error::new(ErrorKind::InvalidInput, Operation::Register)
            .with_path(self.path().join(file))
            .because(format!("this is no record of a program: {why}"))
            .advise("look what wrote it, and remove it by hand")
    }
}

/// `=` is in no name of a group's file: the name ends there.
fn prefix_of(group: &GroupName) -> String {
    format!("{}=", file_name(PREFIX, group.as_str()))
}

/// The process, if it lives still, or is a zombie.
fn open(process: Process) -> Result<Option<PidFd>> {
    let failed = |error: std::io::Error| Error::from_io(Operation::Open, &error);
    let Some(pid) = Pid::new(process.pid) else { return Ok(None) };
    let opened = PidFd::open(pid).map_err(failed)?;
    // Opened first, then compared: what is open cannot become another one.
    Ok(opened.filter(|_| Process::of(pid).is_ok_and(|now| now == Some(process))))
}

impl Recorder for Registry {
    fn started(&self, group: &GroupId, program: Pid) {
        warn(self.note_started(&group.name, program));
    }

    fn ended(&self, group: &GroupId, program: Pid, outcome: Outcome) {
        warn(self.note_ended(&group.name, program, outcome));
    }

    fn handles(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.dir.as_fd()]
    }
}

pub(crate) fn warn(noted: Result<()>) {
    if let Err(error) = noted {
        tracing::warn!("{error:#}; how a program ended cannot be told after a restart");
    }
}

/// A program that another process started and its keeper waits for.
#[derive(Debug)]
struct Recorded {
    registry: Registry,
    entry: Entry,
    program: KeptProgram,
    process: Option<PidFd>,
}

impl Recorded {
    fn recorded(&self) -> Result<Option<Outcome>> {
        if self.program.outcome.is_some() {
            return Ok(self.program.outcome);
        }
        let programs = self.registry.programs(&self.entry)?;
        let same = programs.iter().find(|program| program.process == self.program.process);
        Ok(same.and_then(|program| program.outcome))
    }

    fn runs(&self) -> Result<bool> {
        let ended = self.process.as_ref().map_or(Ok(true), PidFd::has_ended);
        ended.map(|ended| !ended).map_err(|error| Error::from_io(Operation::Wait, &error))
    }
}

impl ChildOps for Recorded {
    fn pid(&self) -> Pid {
        Pid::new(self.program.process.pid).unwrap_or(Pid::current())
    }

    fn try_wait(&self) -> Result<Option<Outcome>> {
        // In this order: whoever is gone by the second look had written it down before.
        let waits = self.runs()? || open(self.program.keeper)?.is_some();
        match self.recorded()? {
            Some(outcome) => Ok(Some(outcome)),
            None if waits => Ok(None),
            None => Err(Error::new(ErrorKind::StatusLost, Operation::Wait)
                .with_group(&self.entry.name)
                .with_pid(self.pid())
                .because("its keeper was killed before it could tell")),
        }
    }

    fn watch(&self) -> Result<Watch> {
        // Between its end and the record of it lie microseconds, which no event tells.
        let process = self.process.as_ref().filter(|_| self.runs().unwrap_or(false));
        Ok(process.map_or(Watch::Backoff, |process| Watch::Sources(vec![process.source()])))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        let sent = process.signal(signal).map(drop);
        sent.map_err(|error| {
            Error::from_io(Operation::Signal, &error)
                .with_group(&self.entry.name)
                .with_pid(self.pid())
        })
    }
}
