//! Where the texts of a group's files come from: opened for each reading, or kept open.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use containment_core::ErrorKind;
use rustix::io::{Errno, pread, read};
use rustix::process::{Resource, getrlimit};

use super::parse::Parsed;
use super::{Access, Dir, Failure, Result};

/// The files of one group, for reading.
pub trait Texts {
    /// Shows the whole text of a file to `understand`; `None` where this kernel does not have it, or refuses to
    /// fill it.
    fn with_text<T>(
        &self,
        file: &'static str,
        understand: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>>;

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
    ) -> Result<Option<T>> {
        self.with_text(file, |text| self.dir().understand(file, text, parse))?.transpose()
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
    ) -> Result<Option<T>> {
        let figure = self.figure(file, parse)?;
        if figure.is_none() && self.dir().is_gone() {
            return Err(self.dir().file_failure(file, Errno::NOENT));
        }
        Ok(figure)
    }
}

impl Texts for Dir {
    fn with_text<T>(
        &self,
        file: &'static str,
        understand: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>> {
        let Some(open) = self.open_if_any(file)? else { return Ok(None) };
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        // The kernel writes such a file at once.
        let read = loop {
            match read(&open, &mut buffer) {
                Err(Errno::INTR) => {}
                read => break read.map(|(text, _)| &*text),
            }
        };
        whole(self, file, read, understand)
    }

    fn dir(&self) -> &Dir {
        self
    }
}

/// The same files kept open once they were read: one `pread` each from then on, and one descriptor, but for
/// the upper half of those that this process may have: beyond that, files are opened for each reading.
#[derive(Debug)]
pub struct KeptOpen {
    dir: Dir,
    /// `None` for a file that this kernel does not have. They are few.
    files: Mutex<Vec<(&'static str, Option<OwnedFd>)>>,
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
        files.iter().filter_map(|(_, file)| file.as_ref()).map(AsRawFd::as_raw_fd).collect()
    }

    /// Closes them: the group may have files now that it did not have.
    pub fn close(&self) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Texts for KeptOpen {
    fn with_text<T>(
        &self,
        file: &'static str,
        understand: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let known = files.iter().position(|(name, _)| *name == file);
        let place = if let Some(place) = known {
            place
        } else {
            let opened = self.dir.open_file(file, Access::Read);
            if !may_be_kept(&opened) {
                drop(opened);
                files.clear();
                return self.dir.with_text(file, understand);
            }
            files.push((file, if_any(opened)?));
            files.len() - 1
        };
        let Some(open) = &files[place].1 else { return Ok(None) };
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let read = loop {
            match pread(open, &mut buffer, 0) {
                Err(Errno::INTR) => {}
                read => break read.map(|(text, _)| &*text),
            }
        };
        whole(&self.dir, file, read, understand)
    }

    fn dir(&self) -> &Dir {
        &self.dir
    }
}

/// Shows the text that was read to `understand`.
fn whole<T>(
    dir: &Dir,
    file: &str,
    read: rustix::io::Result<&[u8]>,
    understand: impl FnOnce(&[u8]) -> T,
) -> Result<Option<T>> {
    match read {
        // What may go on after the end of the buffer would be lost.
        Ok(text) if text.len() == BUFFER => {
            Ok(if_any(dir.read(file))?.map(|text| understand(&text)))
        }
        Ok(text) => Ok(Some(understand(text))),
        Err(Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(dir.file_failure(file, errno)),
    }
}

/// Whether a file may be kept open: what is in the upper half of the descriptors is left to others, who may have more to
/// do than to measure, and to the end of the group. There may have been none for it.
fn may_be_kept(opened: &Result<OwnedFd>) -> bool {
    let short = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    match opened {
        Ok(open) => {
            let limit = getrlimit(Resource::Nofile).current;
            limit.is_none_or(|limit| u64::try_from(open.as_raw_fd()).is_ok_and(|fd| fd < limit / 2))
        }
        Err(failure) => !short.contains(&failure.errno()),
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
