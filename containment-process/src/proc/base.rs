//! The groups below which a driver makes its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::{cgroup, mountinfo};

/// The groups below which a driver makes its own: in each hierarchy our own group, unless something
/// else is said.
///
/// Where this process stands, and what is mounted, is read when it is first asked for, and once: every driver
/// that is found on one base, or on clones of it, sees the same host.
#[derive(Debug, Clone, Default)]
pub struct Base {
    parent: Option<PathBuf>,
    home: Option<Vec<u8>>,
    seen: Arc<Seen>,
}

/// What `/proc` said when it was first asked.
#[derive(Debug, Default)]
struct Seen {
    memberships: OnceLock<Vec<u8>>,
    mounts: OnceLock<Vec<u8>>,
}

impl Base {
    /// A group that was named, relative to each hierarchy's root, instead of our own.
    #[must_use]
    pub fn at(mut self, parent: impl Into<PathBuf>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// The groups of another process instead of our own, by the text of its `/proc/PID/cgroup`.
    #[must_use]
    pub fn of(mut self, home: impl Into<Vec<u8>>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// The group that was named.
    pub fn parent(&self) -> Option<&Path> {
        self.parent.as_deref()
    }

    /// The same groups, of a host that is looked at anew.
    #[must_use]
    pub fn afresh(self) -> Self {
        Self { seen: Arc::default(), ..self }
    }

    /// Whether it is this process's own group in each hierarchy.
    pub fn is_own(&self) -> bool {
        self.parent.is_none() && self.home.is_none()
    }

    /// The memberships that count, as `/proc/PID/cgroup` tells them.
    pub fn memberships(&self) -> io::Result<&[u8]> {
        match &self.home {
            Some(home) => Ok(home),
            None => once(&self.seen.memberships, cgroup::read_self),
        }
    }

    /// What is mounted, as `/proc/self/mountinfo` tells it.
    pub fn mounts(&self) -> io::Result<&[u8]> {
        once(&self.seen.mounts, mountinfo::read)
    }
}

/// The text, read unless it was; a failure is not remembered.
fn once(text: &OnceLock<Vec<u8>>, read: fn() -> io::Result<Vec<u8>>) -> io::Result<&[u8]> {
    match text.get() {
        Some(text) => Ok(text),
        None => read().map(|read| text.get_or_init(|| read).as_slice()),
    }
}

impl From<Option<&Path>> for Base {
    fn from(parent: Option<&Path>) -> Self {
        Self { parent: parent.map(Path::to_path_buf), ..Self::default() }
    }
}
