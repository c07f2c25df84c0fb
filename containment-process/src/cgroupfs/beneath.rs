//! Opens what lies beneath a directory, and nothing else: no `..`, no links, no mounts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result, retry_on_intr};

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Opens `relative` beneath `dir`. `EINVAL` when it climbs, `ELOOP` or `ENOTDIR` at a link, `EXDEV`
/// at a mount.
pub(super) fn open(dir: BorrowedFd<'_>, relative: &Path, flags: OFlags) -> Result<OwnedFd> {
    let relative = checked(relative)?;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened =
        retry_on_intr(|| rustix::fs::openat2(dir, relative, flags, Mode::empty(), RESOLVE));
    match opened {
        // Linux before 5.6, or a seccomp filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => by_components(dir, relative, flags),
        opened => opened,
    }
}

fn checked(relative: &Path) -> Result<&Path> {
    let stays = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    let name = relative.as_os_str().as_bytes();
    match relative {
        // A file of a group, which is what is opened most.
        _ if !matches!(name, b"" | b"..") && !name.contains(&b'/') => Ok(relative),
        _ if !relative.components().all(stays) => Err(Errno::INVAL),
        _ if relative.as_os_str().is_empty() => Ok(Path::new(".")),
        _ => Ok(relative),
    }
}

/// The same, one component at a time. Another mount of the *same* file system in the way is not
/// noticed.
fn by_components(dir: BorrowedFd<'_>, relative: &Path, flags: OFlags) -> Result<OwnedFd> {
    let above = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let device = rustix::fs::fstat(dir)?.st_dev;
    let mut components = relative.components().peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(component) = components.next() {
        let flags = if components.peek().is_some() { above } else { flags };
        let from = at.as_ref().map_or(dir, AsFd::as_fd);
        let name = Path::new(component.as_os_str());
        let next = retry_on_intr(|| rustix::fs::openat(from, name, flags, Mode::empty()))?;
        if rustix::fs::fstat(&next)?.st_dev != device {
            return Err(Errno::XDEV);
        }
        at = Some(next);
    }
    at.ok_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const READ: OFlags = OFlags::RDONLY;
    const FALLBACK: OFlags = READ.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

    fn handle(path: &Path) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty()).unwrap()
    }

    /// What both ways say of `relative` beneath `dir`.
    fn both(dir: &Path, relative: &str) -> [Result<()>; 2] {
        let dir = handle(dir);
        let relative = Path::new(relative);
        let fallback =
            checked(relative).and_then(|relative| by_components(dir.as_fd(), relative, FALLBACK));
        [open(dir.as_fd(), relative, READ), fallback].map(|opened| opened.map(drop))
    }

    fn scratch() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        dir
    }

    #[test]
    fn what_lies_beneath_is_opened() {
        let dir = scratch();
        for relative in ["", ".", "a", "a/b", "a/./b/", "a/b/file"] {
            assert_eq!(both(dir.path(), relative), [Ok(()), Ok(())], "{relative:?}");
        }
        assert_eq!(both(dir.path(), "a/c/d"), [Err(Errno::NOENT); 2]);
    }

    #[test]
    fn climbing_is_refused_even_when_it_would_stay_beneath() {
        let dir = scratch();
        for relative in ["..", "a/..", "a/../a/b", "/", "/a", "../x"] {
            assert_eq!(both(dir.path(), relative), [Err(Errno::INVAL); 2], "{relative:?}");
        }
    }

    #[test]
    fn k40_a_symbolic_link_in_the_way_is_refused() {
        let dir = scratch();
        for relative in ["link", "link/b"] {
            for opened in both(dir.path(), relative) {
                assert!(matches!(opened, Err(Errno::LOOP | Errno::NOTDIR)), "{opened:?}");
            }
        }
    }

    #[test]
    fn a_mount_in_the_way_is_refused() {
        assert_eq!(both(Path::new("/"), "proc/self/stat"), [Err(Errno::XDEV); 2]);
    }
}
