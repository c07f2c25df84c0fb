//! Extended attributes of a group's directory: notes that last as long as the group, whoever opens
//! it. cgroupfs keeps them in kernel memory, so they are gone with the boot.

use std::path::PathBuf;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::{Dir, Failure, Result};

/// The note that tells on whose record a group is.
const MARK: &str = "contain.mark";

/// The longest value that is read.
const LONGEST: usize = 256;

/// Where a note may live: `user` takes Linux 5.7, `trusted` takes root.
const NAMESPACES: [&str; 2] = ["user", "trusted"];

/// Errors: none where the kernel keeps no attributes; then there simply is no note.
impl Dir {
    /// Leaves the mark that tells on whose record the group is. Whether it was kept.
    pub fn leave_mark(&self, mark: &str) -> Result<bool> {
        self.leave_note(MARK, mark)
    }

    /// The mark that was left on it, if one was.
    pub fn mark(&self) -> Result<Option<String>> {
        let text = |note: Vec<u8>| String::from_utf8_lossy(&note).into_owned();
        self.note(MARK).map(|note| note.map(text))
    }

    /// The note `name`, if there is one.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let mut value = [0; LONGEST];
        for namespace in NAMESPACES {
            let attribute = format!("{namespace}.{name}");
            let read = self.with_access(|| {
                let read = rustix::fs::fgetxattr(&*self.fd, &attribute, &mut value[..]);
                self.or_by_path(read, |path| rustix::fs::getxattr(path, &attribute, &mut value[..]))
            });
            match read {
                Ok(length) => return Ok(Some(value[..length].to_vec())),
                Err(errno) if is_absent(errno) => {}
                Err(errno) => return Err(self.note_failure(errno)),
            }
        }
        Ok(None)
    }

    /// Leaves the note `name`. Whether it was kept.
    pub fn leave_note(&self, name: &str, value: impl AsRef<[u8]>) -> Result<bool> {
        for namespace in NAMESPACES {
            let attribute = format!("{namespace}.{name}");
            let (value, flags) = (value.as_ref(), XattrFlags::empty());
            let left = self.with_access(|| {
                let left = rustix::fs::fsetxattr(&*self.fd, &attribute, value, flags);
                self.or_by_path(left, |path| rustix::fs::setxattr(path, &attribute, value, flags))
            });
            match left {
                Ok(()) => return Ok(true),
                Err(errno) if is_absent(errno) => {}
                Err(errno) => return Err(self.note_failure(errno)),
            }
        }
        Ok(false)
    }

    /// Takes the note `name` away again.
    pub fn remove_note(&self, name: &str) -> Result<()> {
        for namespace in NAMESPACES {
            let attribute = format!("{namespace}.{name}");
            let removed = self.with_access(|| {
                let removed = rustix::fs::fremovexattr(&*self.fd, &attribute);
                self.or_by_path(removed, |path| rustix::fs::removexattr(path, &attribute))
            });
            match removed {
                Err(errno) if !is_absent(errno) => return Err(self.note_failure(errno)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// A descriptor will do where the directory is open for reading, as one is that was just made; else there is
    /// only its path, which takes several times as long.
    fn or_by_path<T>(
        &self,
        by_descriptor: rustix::io::Result<T>,
        by_path: impl FnOnce(PathBuf) -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        match by_descriptor {
            Err(Errno::BADF) => by_path(self.handle_path()),
            done => done,
        }
    }

    fn note_failure(&self, errno: Errno) -> Failure {
        Failure::of_file(self.path(), errno, self.is_gone())
    }
}

/// No such attribute, or none of its kind here, or not for us.
fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS)
}
