//! Mounting the hierarchies that are missing, for those who ask for it. Nothing else ever mounts.
//!
//! Mounts are for the whole host: two that run at once take turns by a lock, and each looks again
//! once it has it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use containment_core::{Backend, Error, ErrorKind, Operation, Result};
use containment_process::proc::mountinfo;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::hierarchy::Mounted;

/// The hierarchies that the driver needs and other software seldom minds: the freezer to kill for
/// certain, cpuset for the limits that most ask for.
const WANTED: [&str; 2] = ["freezer", "cpuset"];

/// Where hierarchies are mounted on every distribution that has them.
const ROOT: &str = "/sys/fs/cgroup";
/// Where they go when another file system than tmpfs is there.
const ROOT_ELSEWHERE: &str = "/run/contain/cgroup";
const LOCK: &str = "/run/contain-init.lock";
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// Nothing is mounted on the directory of that sysfs.
const SYSFS_MAGIC: u64 = 0x6265_6572;

/// What became of a hierarchy that `init` looked after.
#[derive(Debug)]
#[non_exhaustive]
pub struct Initialized {
    /// Its controller.
    pub controller: &'static str,
    /// Whether it was mounted now, and where.
    pub state: InitState,
}

/// Whether a hierarchy is mounted.
#[derive(Debug)]
#[non_exhaustive]
pub enum InitState {
    /// It was already.
    Present(PathBuf),
    /// It was missing and is mounted here now; in a dry run, would be.
    Mounted(PathBuf),
    /// It is missing and could not be mounted.
    Failed(Error),
}

/// Mounts the freezer and cpuset hierarchies where they are missing. With `dry_run` nothing is done, and
/// told what would be. Root only; under a lock.
///
/// ```
/// use backend_cgroupv1::{InitState, init};
/// for hierarchy in init(true)? {
///     assert!(["freezer", "cpuset"].contains(&hierarchy.controller));
///     match hierarchy.state {
///         InitState::Present(at) => println!("{}: {}", hierarchy.controller, at.display()),
///         InitState::Mounted(at) => println!("{} would be {}", hierarchy.controller, at.display()),
///         InitState::Failed(error) => println!("{}: {error:#}", hierarchy.controller),
///         _ => {}
///     }
/// }
/// # Ok::<(), containment_core::Error>(())
/// ```
///
/// # Errors
/// When the mounts cannot be read or the lock cannot be had. That one hierarchy cannot be mounted is
/// told in its [`InitState`].
pub fn init(dry_run: bool) -> Result<Vec<Initialized>> {
    let locked = if dry_run { None } else { Some(lock()?) };
    let mounts =
        mountinfo::read().map_err(|error| failed(Error::from_io(Operation::Mount, &error)))?;
    let present: Vec<_> = mountinfo::mounts(&mounts).filter_map(|m| Mounted::of(&m)).collect();
    let look_after = |controller: &'static str| {
        let known = present.iter().find(|mounted| mounted.serves(controller));
        let state = match known {
            Some(mounted) => InitState::Present(mounted.point().to_path_buf()),
            None => provide(controller, dry_run),
        };
        Initialized { controller, state }
    };
    let all = WANTED.into_iter().map(look_after).collect();
    drop(locked);
    Ok(all)
}

/// One at a time on this host. The lock ends with the descriptor.
fn lock() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, LOCK, flags, Mode::RUSR | Mode::WUSR);
    opened
        .and_then(|file| {
            rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
            Ok(file)
        })
        .map_err(|errno| refused(LOCK.as_ref(), errno))
}

fn provide(controller: &'static str, dry_run: bool) -> InitState {
    let root = root();
    let point = root.join(controller);
    let mounted = match knows(controller) {
        Err(error) => Err(error),
        Ok(()) if dry_run => Ok(()),
        Ok(()) => mount(&root, &point, controller),
    };
    mounted.map_or_else(InitState::Failed, |()| InitState::Mounted(point))
}

/// Whether this kernel has the controller (cgroups(7), `/proc/cgroups`).
fn knows(controller: &str) -> Result<()> {
    let text = std::fs::read_to_string("/proc/cgroups");
    let text = text.map_err(|error| failed(Error::from_io(Operation::Mount, &error)))?;
    let mut lines = text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let line = lines.find(|fields| fields.first() == Some(&controller));
    match line.as_deref() {
        Some([_, _, _, "1"]) => Ok(()),
        _ => Err(failed(Error::new(ErrorKind::Unsupported, Operation::Mount))
            .because(format!("this kernel has no controller {controller} for cgroup v1"))
            .advise("boot a kernel that has it, without cgroup_disable and cgroup_no_v1")),
    }
}

/// The directory that hierarchies are mounted in: where it is empty or a tmpfs there is room for them.
fn root() -> PathBuf {
    let is_free = |magic: u64| magic == TMPFS_MAGIC || magic == SYSFS_MAGIC;
    let stat = rustix::fs::statfs(ROOT);
    match stat.map(|stat| u64::try_from(stat.f_type)) {
        Ok(Ok(magic)) if is_free(magic) => ROOT.into(),
        _ => ROOT_ELSEWHERE.into(),
    }
}

fn mount(root: &Path, point: &Path, controller: &str) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    make_room(root, flags).map_err(|errno| refused(root, errno))?;
    match rustix::fs::mkdir(point, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(refused(point, errno)),
    }
    let options = std::ffi::CString::new(controller).unwrap_or_default();
    rustix::mount::mount("cgroup", point, "cgroup", flags, &*options)
        .map_err(|errno| refused(point, errno))
}

/// A tmpfs for the mount points, where there is none.
fn make_room(root: &Path, flags: MountFlags) -> rustix::io::Result<()> {
    if root == Path::new(ROOT_ELSEWHERE) {
        return std::fs::create_dir_all(root)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    let stat = rustix::fs::statfs(root)?;
    if u64::try_from(stat.f_type) == Ok(TMPFS_MAGIC) {
        return Ok(());
    }
    rustix::mount::mount("cgroup_root", root, "tmpfs", flags, c"mode=755")
}

fn failed(error: Error) -> Error {
    error.with_backend(Backend::CgroupV1)
}

fn refused(path: &Path, errno: Errno) -> Error {
    let error = failed(Error::from_errno(Operation::Mount, errno.raw_os_error())).with_path(path);
    match errno {
        Errno::PERM | Errno::ACCESS => {
            error.because("hierarchies are mounted by root only").advise("run contain init as root")
        }
        Errno::BUSY => error
            .because("the controller is in use by version 2, or mounted elsewhere with others")
            .advise(
                "boot with cgroup_no_v1 unset and the controller out of cgroup.subtree_control",
            ),
        _ => {
            error.because("cannot mount the hierarchy").advise("mount it by hand: mount -t cgroup")
        }
    }
}
