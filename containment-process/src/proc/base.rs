//! The groups below which a driver makes its own.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::{cgroup, mountinfo};

/// The groups below which a driver makes its own: in each hierarchy our own group, unless something
/// else is said.
///
/// Where this process stands, and what is mounted, is read when it is first asked for, and once: every driver
/// that is found on one base, or on clones of it, sees the same host.
///
/// ```
/// use containment_process::proc::{Base, cgroup};
///
/// let own = Base::default();
/// assert!(own.is_own() && own.parent().is_none());
/// let named = own.at("ci");
/// assert!(!named.is_own() && named.parent() == Some("ci".as_ref()));
/// // Those of another process, as its `/proc/PID/cgroup` tells them.
/// let other = Base::default().of(*b"0::/web\n");
/// let text = other.memberships()?;
/// assert!(cgroup::memberships(text).all(|it| it.is_unified() && it.path.ends_with("web")));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Base {
    parent: Option<PathBuf>,
    home: Option<Vec<u8>>,
    seen: Arc<Seen>,
}

/// What `/proc` said when it was first asked.
#[derive(Default)]
struct Seen {
    memberships: OnceLock<Vec<u8>>,
    mounts: OnceLock<Vec<u8>>,
}

impl fmt::Debug for Seen {
    /// Whether it was asked: the list of the mounts has thousands of bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (memberships, mounts) = (self.memberships.get(), self.mounts.get());
        f.debug_struct("Seen")
            .field("memberships", &memberships.is_some())
            .field("mounts", &mounts.is_some())
            .finish()
    }
}

impl Base {
    /// A group that was named, by its path below each hierarchy's mount, instead of our own.
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
        // It stays, and was read into whole pages.
        None => read().map(|mut read| {
            read.shrink_to_fit();
            text.get_or_init(|| read).as_slice()
        }),
    }
}

impl From<Option<&Path>> for Base {
    fn from(parent: Option<&Path>) -> Self {
        Self { parent: parent.map(Path::to_path_buf), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_see_what_was_read_once_and_who_looks_afresh_reads_it_again() {
        let base = Base::default();
        let clone = base.clone();
        let (memberships, mounts) = (base.memberships().unwrap(), base.mounts().unwrap());
        assert!(std::ptr::eq(memberships, clone.memberships().unwrap()));
        assert!(std::ptr::eq(mounts, clone.mounts().unwrap()));
        let afresh = base.clone().afresh();
        assert!(!std::ptr::eq(mounts, afresh.mounts().unwrap()));
    }

    #[test]
    fn a_text_that_could_not_be_read_is_read_again() {
        let text = OnceLock::new();
        let refused = || Err(io::ErrorKind::PermissionDenied.into());
        assert!(once(&text, refused).is_err());
        assert_eq!(once(&text, || Ok(b"now".to_vec())).unwrap(), b"now");
        assert_eq!(once(&text, refused).unwrap(), b"now");
    }

    #[test]
    fn only_what_is_not_named_is_our_own() {
        assert!(Base::default().is_own());
        assert!(!Base::default().at("/jobs").is_own());
        assert!(!Base::default().of("0::/a\n").is_own());
    }
}
