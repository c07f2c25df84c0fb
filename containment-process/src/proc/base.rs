//! The groups below which a driver makes its own.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use super::cgroup;

/// The groups below which a driver makes its own: in each hierarchy our own group, unless something
/// else is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    parent: Option<PathBuf>,
    home: Option<Vec<u8>>,
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

    /// The memberships that count, as `/proc/PID/cgroup` tells them.
    pub fn memberships(&self) -> io::Result<Cow<'_, [u8]>> {
        match &self.home {
            Some(home) => Ok(Cow::Borrowed(home)),
            None => cgroup::read_self().map(Cow::Owned),
        }
    }
}

impl From<Option<&Path>> for Base {
    fn from(parent: Option<&Path>) -> Self {
        Self { parent: parent.map(Path::to_path_buf), home: None }
    }
}
