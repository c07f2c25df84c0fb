//! `/proc/PID/cgroup`: which group of each hierarchy a process is in.
//!
//! Format: cgroups(7). Names are not escaped; the kernel refuses newlines in them.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use containment_core::Pid;
use rustix::io::Errno;

use super::stat::Stat;
use super::text::{self, number};
use crate::malformed::Malformed;
use crate::pidfd::PidFd;

/// The text for the calling process.
pub fn read_self() -> io::Result<Vec<u8>> {
    read_checked("/proc/self/cgroup")
}

/// The calling process's group in the unified hierarchy, as `/proc/self/cgroup` has it; `None` where it is in none.
///
/// The kernel formats every hierarchy for that text, so it is read again only when the process was moved since,
/// where the kernel tells that (Linux 6.13): groups are never renamed, and no id is given twice.
pub fn own_unified() -> io::Result<Option<PathBuf>> {
    static KNOWN: Mutex<Option<(u64, Option<PathBuf>)>> = Mutex::new(None);
    // Whatever keeps the kernel from telling it, the text is there.
    let id = || PidFd::open(Pid::current()).ok()??.cgroup_id().ok()?;
    let before = id();
    // Another thread may have held it when this process was forked: then it is never to be had.
    let mut known = KNOWN.try_lock().ok();
    if let (Some(now), Some((last, path))) = (before, known.as_deref().and_then(Option::as_ref))
        && *last == now
    {
        return Ok(path.clone());
    }
    let text = read_self()?;
    let own = memberships(&text).find(Membership::is_unified).map(|own| own.path.to_owned());
    if let (Some(before), Some(known)) = (before, known.as_deref_mut())
        && id() == Some(before)
    {
        *known = Some((before, own.clone()));
    }
    Ok(own)
}

/// The text for another process, `None` when there is none of this pid.
pub fn read(pid: Pid) -> io::Result<Option<Vec<u8>>> {
    match read_checked(&format!("/proc/{pid}/cgroup")) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The text for the parent of another process, in whose groups that was born; `None` when one of them is gone.
pub fn read_of_parent(pid: Pid) -> io::Result<Option<Vec<u8>>> {
    let parent = Stat::read(pid)?.and_then(|stat| Pid::new(stat.parent));
    parent.map_or(Ok(None), read)
}

fn read_checked(path: &str) -> io::Result<Vec<u8>> {
    let text = text::read_file(path)?;
    check(&text).map_err(|malformed| malformed.of_file(path))?;
    Ok(text)
}

/// Whether every line is understood; the readings answer no text of which that is not so.
pub fn check(text: &[u8]) -> Result<(), Malformed> {
    text::check(text, |line| Membership::parse(line).is_some())
}

/// Whether this is how `/proc` says that a process is gone: `ENOENT` at opening, `ESRCH` at reading.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::SRCH))
}

/// The lines of a text. Malformed lines are skipped.
pub fn memberships(text: &[u8]) -> impl Iterator<Item = Membership<'_>> {
    text::lines(text).filter_map(Membership::parse)
}

/// The group that a process is in, in one hierarchy.
///
/// ```
/// use containment_process::proc::cgroup::{Membership, check, memberships};
/// let text = b"12:cpu,cpuacct:/job\n1:name=systemd:/\n0::/gone (deleted)\n";
/// assert!(check(text).is_ok());
/// let all: Vec<_> = memberships(text).collect();
/// assert!(all[0].serves("cpuacct") && all[0].path.ends_with("job"));
/// assert!(all[1].serves("name=systemd") && !all[1].is_unified());
/// assert!(all[2].is_unified() && all[2].deleted);
/// assert_eq!(Membership::parse(b"12:cpu"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership<'a> {
    /// The hierarchy's number: 0 is the unified one.
    pub hierarchy: u32,
    /// The group's path below the root of the reader's cgroup namespace; it begins with `/..` when
    /// the group lies outside of that.
    pub path: &'a Path,
    /// Whether the group was removed. Only the unified hierarchy says so.
    pub deleted: bool,
    controllers: &'a [u8],
}

impl<'a> Membership<'a> {
    /// Reads one line, without its newline; `None` when it is malformed.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let hierarchy = number(fields.next()?)?;
        let controllers = fields.next()?;
        let path = fields.next().filter(|path| path.starts_with(b"/"))?;
        // On version 1 those words would be part of a name.
        let alive = if hierarchy == 0 { path.strip_suffix(b" (deleted)") } else { None };
        Some(Self {
            hierarchy,
            path: Path::new(OsStr::from_bytes(alive.unwrap_or(path))),
            deleted: alive.is_some(),
            controllers,
        })
    }

    /// Whether this is the unified hierarchy, cgroup version 2.
    pub fn is_unified(&self) -> bool {
        self.hierarchy == 0 && self.controllers.is_empty()
    }

    /// Whether this hierarchy serves a controller of version 1, or is the named one: `name=systemd`.
    pub fn serves(&self, controller: &str) -> bool {
        let mut controllers = self.controllers.split(|byte| *byte == b',');
        !controller.is_empty() && controllers.any(|name| name == controller.as_bytes())
    }
}

/// Where a group is below a mount point: the mount's root field taken off the group's path. Empty
/// when the group is what is mounted; `None` when it lies outside of the mount.
///
/// Both are relative to the reader's cgroup namespace and may begin with `/..`. A mount that begins
/// above the namespace hides under which name the namespace's own root is found in it: `None` too.
///
/// ```
/// use containment_process::proc::cgroup::below_mount;
/// use std::path::Path;
/// let docker = Path::new("/docker/4f2");
/// assert_eq!(below_mount(Path::new("/docker/4f2/job"), docker), Some("job".into()));
/// assert_eq!(below_mount(Path::new("/docker/4f21"), docker), None);
/// ```
pub fn below_mount(group: &Path, root: &Path) -> Option<PathBuf> {
    let (group, root) = (group.as_os_str().as_bytes(), root.as_os_str().as_bytes());
    let below = group.strip_prefix(root.strip_suffix(b"/").unwrap_or(root))?;
    let relative = match below {
        [] => below,
        [b'/', relative @ ..] => relative,
        _ => return None,
    };
    let climbs = relative.split(|byte| *byte == b'/').any(|component| component == b"..");
    (!climbs).then(|| PathBuf::from(OsStr::from_bytes(relative)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HYBRID: &[u8] = b"\
12:cpu,cpuacct:/user.slice
9:freezer:/odd: name (deleted)
1:name=systemd:/user.slice/user-1000.slice/session-1.scope
0::/user.slice/user-1000.slice/session-1.scope
";

    fn find<'a>(text: &'a [u8], controller: &str) -> Membership<'a> {
        memberships(text).find(|membership| membership.serves(controller)).unwrap()
    }

    #[test]
    fn a_hybrid_host_is_read() {
        assert_eq!(find(HYBRID, "cpuacct").path, Path::new("/user.slice"));
        assert_eq!(find(HYBRID, "name=systemd").hierarchy, 1);
        let unified = memberships(HYBRID).find(Membership::is_unified).unwrap();
        assert_eq!(unified.path, Path::new("/user.slice/user-1000.slice/session-1.scope"));
        assert!(!unified.serves("") && !unified.deleted);
    }

    #[test]
    fn a_version_1_name_may_look_like_anything() {
        let freezer = find(HYBRID, "freezer");
        assert_eq!(freezer.path, Path::new("/odd: name (deleted)"));
        assert!(!freezer.deleted);
    }

    #[test]
    fn a_removed_group_is_told() {
        let text = b"0::/build-42 (deleted)\n";
        let membership = memberships(text).next().unwrap();
        assert_eq!((membership.path, membership.deleted), (Path::new("/build-42"), true));
    }

    #[test]
    fn malformed_lines_are_skipped() {
        let text = b"\n0:\n0::\n0::relative\nx::/\n-1::/\n0::/ok\n";
        assert_eq!(memberships(text).count(), 1);
    }

    #[test]
    fn a_line_that_is_not_understood_is_named() {
        assert_eq!(check(HYBRID), Ok(()));
        assert_eq!(check(b"0::/ok\n0::relative\n"), Err(Malformed { line: 2 }));
        assert_eq!(check(b"0::/ok\n0::/cut"), Err(Malformed { line: 2 }));
    }

    #[test]
    fn the_mount_s_root_is_taken_off() {
        let cases = [
            ("/", "/", Some("")),
            ("/a/b", "/", Some("a/b")),
            ("/a/b", "/a", Some("b")),
            ("/a", "/a", Some("")),
            ("/ab", "/a", None),
            ("/b", "/a", None),
            ("/", "/a", None),
            // Cgroup namespaces: ours is the root, the mount or the group is above or beside.
            ("/", "/..", None),
            ("/../sibling", "/", None),
            ("/../../x/y", "/../..", Some("x/y")),
            ("/../../x", "/..", None),
            ("/..", "/", None),
            ("/..x", "/", Some("..x")),
        ];
        for (group, root, expected) in cases {
            let found = below_mount(Path::new(group), Path::new(root));
            assert_eq!(found, expected.map(PathBuf::from), "{group} below {root}");
        }
    }

    #[test]
    fn this_process_is_in_a_group_of_every_hierarchy_listed() {
        let text = read_self().unwrap();
        assert_eq!(memberships(&text).count(), text::lines(&text).count());
        assert_eq!(read(Pid::current()).unwrap().unwrap(), text);
    }

    #[test]
    fn a_process_that_never_was_is_none() {
        assert_eq!(read(Pid::new(i32::MAX).unwrap()).unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text: Vec<u8>, plausible in "[0-9:/. a,()\n]{0,100}") {
            memberships(&text).for_each(drop);
            memberships(plausible.as_bytes()).for_each(drop);
        }

        #[test]
        fn a_line_round_trips(hierarchy in 1..99u32, name in "[a-z_]{1,9}", path in "(/[^/\n]{1,9}){1,4}") {
            let line = format!("{hierarchy}:cpu,{name}:{path}");
            let membership = Membership::parse(line.as_bytes()).unwrap();
            prop_assert_eq!(membership.hierarchy, hierarchy);
            prop_assert!(membership.serves("cpu") && membership.serves(&name));
            prop_assert_eq!(membership.path, Path::new(&path));
        }

        #[test]
        fn a_path_below_a_mount_joins_to_the_group(root in "(/[a-z.]{1,3}){0,3}/?", group in "(/[a-z.]{1,3}){1,5}") {
            let (root, group) = (Path::new(&root), Path::new(&group));
            if let Some(below) = below_mount(group, root) {
                prop_assert!(below.is_relative());
                prop_assert_eq!(Path::new("/").join(root).join(below), group);
            }
        }
    }
}
