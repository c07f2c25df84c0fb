//! A claim: the entry of a group that this process is about to make, or made, and what is added to it as more
//! of the group becomes known.

use std::sync::atomic::{AtomicU32, Ordering};

use containment_core::{Identity, Result};

use super::directory::StateDir;
use super::{Entry, Process, entry_file};

/// A group on record that this process put there.
#[derive(Debug)]
pub struct Claim {
    dir: StateDir,
    entry: Entry,
    /// How much of its file is written.
    length: u64,
}

impl Claim {
    /// Makes the file of an entry, which reserves the name.
    ///
    /// # Errors
    /// [`AlreadyExists`](containment_core::ErrorKind::AlreadyExists); those of the state directory.
    pub(super) fn create(dir: StateDir, entry: Entry) -> Result<Self> {
        let text = entry.to_text()?;
        dir.create(&entry_file(&entry.name), &text)?;
        Ok(Self { dir, entry, length: text.len() as u64 })
    }

    /// What is on record.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Notes what the group is known by now that it is made.
    ///
    /// # Errors
    /// Those of the state directory: [`System`](containment_core::ErrorKind::System) with `ENOENT` when
    /// somebody else has struck the group off.
    pub fn identify(&mut self, identity: Identity) -> Result<()> {
        self.entry.identity = Some(identity);
        self.write()
    }

    /// Notes the group's program, by which it is found where the kernel knows it by no name.
    ///
    /// # Errors
    /// As [`identify`](Self::identify).
    pub fn note_program(&mut self, program: Process) -> Result<()> {
        self.entry.program = Some(program);
        self.write()
    }

    /// Strikes the group off the record: it is gone. What is written down of its programs goes with the
    /// next [`tidy`](super::Registry::tidy), unless [`Registry::forget`](super::Registry::forget) did so.
    ///
    /// # Errors
    /// Those of the state directory. That somebody else has struck the group off, and maybe given its name to another
    /// one, is none.
    pub fn release(self) -> Result<()> {
        self.dir.remove_marked(&entry_file(&self.entry.name), &self.entry.told_mark())
    }

    /// After what is there already, which stays what counts until this is whole: to replace a file makes some
    /// file systems write it to the disk at once.
    fn write(&mut self) -> Result<()> {
        let text = self.entry.to_text()?;
        let file = entry_file(&self.entry.name);
        self.dir.extend(&file, &self.entry.told_mark(), self.length, &text)?;
        self.length += text.len() as u64;
        Ok(())
    }
}

/// A text that no other group carries: the process, when it started, and a number.
pub(super) fn fresh_mark(Process { pid, started }: Process) -> String {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    format!("{pid}.{started}.{}", SERIAL.fetch_add(1, Ordering::Relaxed))
}
