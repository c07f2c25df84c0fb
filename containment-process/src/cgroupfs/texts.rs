//! Where the texts of a group's files come from: opened for each reading, or kept open.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use containment_core::ErrorKind;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread, read, retry_on_intr};

use super::parse::Parsed;
use super::{Access, Dir, Failure, Result};

/// The files of one group, for reading.
pub trait Texts {
    /// The whole text of a file; `None` where this kernel does not have it, or refuses to fill it.
    fn text(&self, file: &'static str) -> Result<Option<Vec<u8>>>;

    /// What the file was opened in, for messages.
    fn dir(&self) -> &Dir;

    /// What a file says; `None` where this kernel does not have it, or refuses to fill it.
    ///
    /// # Errors
    /// [`Malformed`](ErrorKind::Malformed), naming the file and the line.
    fn figure<T>(
        &self,
        file: &'static str,
        parse: impl FnOnce(&[u8]) -> Parsed<T>,
    ) -> Result<Option<T>>
    where
        Self: Sized,
    {
        let Some(text) = self.text(file)? else { return Ok(None) };
        self.dir().understand(file, &text, parse).map(Some)
    }

    /// The same of a file that such a group has on every kernel, or on all but a few.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) where it is missing because the group was removed, which the other figures do not
    /// tell from one that this kernel lacks.
    fn first_figure<T>(
        &self,
        file: &'static str,
        parse: impl FnOnce(&[u8]) -> Parsed<T>,
    ) -> Result<Option<T>>
    where
        Self: Sized,
    {
        let figure = self.figure(file, parse)?;
        if figure.is_none() && self.dir().is_gone() {
            return Err(self.dir().file_failure(file, Errno::NOENT));
        }
        Ok(figure)
    }
}

impl Texts for Dir {
    fn text(&self, file: &'static str) -> Result<Option<Vec<u8>>> {
        let Some(open) = self.open_if_any(file)? else { return Ok(None) };
        let mut text = Vec::with_capacity(BUFFER);
        match retry_on_intr(|| read(&open, spare_capacity(&mut text))) {
            // The kernel writes such a file at once: what does not fill the buffer is the whole of it.
            Ok(length) if length < BUFFER => Ok(Some(text)),
            Ok(_) => if_any(self.read(file)),
            Err(Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(self.file_failure(file, errno)),
        }
    }

    fn dir(&self) -> &Dir {
        self
    }
}

/// The same files kept open once they were read: one `pread` each from then on, and one descriptor.
#[derive(Debug)]
pub struct KeptOpen {
    dir: Dir,
    /// `None` for a file that this kernel does not have.
    files: Mutex<HashMap<&'static str, Option<OwnedFd>>>,
}

/// Larger than any of these files are: `memory.stat` has some 1,800 bytes.
const BUFFER: usize = 8 * 1024;

impl KeptOpen {
    /// The files of this group.
    pub fn new(dir: Dir) -> Self {
        Self { dir, files: Mutex::default() }
    }

    /// The descriptors of those that are open.
    pub fn handles(&self) -> Vec<RawFd> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.values().flatten().map(AsRawFd::as_raw_fd).collect()
    }

    /// Closes them: the group may have files now that it did not have.
    pub fn close(&self) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Texts for KeptOpen {
    fn text(&self, file: &'static str) -> Result<Option<Vec<u8>>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if !files.contains_key(file) {
            files.insert(file, if_any(self.dir.open_file(file, Access::Read))?);
        }
        let Some(Some(open)) = files.get(file) else { return Ok(None) };
        let mut buffer = vec![0; BUFFER];
        match retry_on_intr(|| pread(open, &mut buffer, 0)) {
            // What may go on after the end of the buffer would be lost.
            Ok(length) if length == BUFFER => if_any(self.dir.read(file)),
            Ok(length) => {
                buffer.truncate(length);
                Ok(Some(buffer))
            }
            Err(Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(self.dir.file_failure(file, errno)),
        }
    }

    fn dir(&self) -> &Dir {
        &self.dir
    }
}

fn if_any<T>(read: Result<T, Failure>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(failure)
            if matches!(failure.kind(), ErrorKind::Unsupported | ErrorKind::DomainInvalid) =>
        {
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}
