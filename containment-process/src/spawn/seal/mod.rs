//! The seal: what a process would need to leave its group is out of reach of it and of all that it
//! starts, be it root. docs/ISOLATION.md tells the ways out one by one, and what closes each.

mod covers;
mod domain;
mod filter;

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use containment_core::Seal as Strength;
use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, RawDir, fstat, fstatfs, openat};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};

use super::mounts::at;
use super::{Step, sys};
use crate::proc::text::number;
pub(super) use covers::Covers;
pub use domain::separates_processes;

/// What a sealed program may have. What is not here is a way out, or is not known not to be one:
/// mounts and namespaces (`SYS_ADMIN`), other processes (`SYS_PTRACE`), the kernel (`SYS_MODULE`,
/// `SYS_RAWIO`, `SYS_BOOT`, `BPF`, `PERFMON`), devices (`MKNOD`), files by handle (`DAC_READ_SEARCH`),
/// limits (`SYS_RESOURCE`).
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_BROADCAST)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::IPC_OWNER)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SYS_NICE)
    .union(CapabilitySet::LEASE)
    .union(CapabilitySet::AUDIT_WRITE);

/// What the child needs to seal itself, made ready by its parent.
#[derive(Debug)]
pub(super) struct Seal {
    filter: Vec<libc::sock_filter>,
    /// The numbers of the descriptors that the program was given.
    given: Vec<i32>,
    /// Whether it must be one that the kernel can give whole.
    whole: bool,
    /// The most descriptors that this process can have, now that the program's limit is not set yet.
    most: i32,
}

impl Seal {
    /// `None` for a program that is not sealed; `targets` are the descriptors that it is given.
    pub(super) fn prepare(seal: Strength, targets: impl Iterator<Item = i32>) -> Option<Self> {
        let whole = match seal {
            Strength::Open => return None,
            Strength::Whole => true,
            Strength::BestEffort => false,
        };
        let mut given: Vec<i32> = (0..=2).chain(targets).collect();
        given.sort_unstable();
        given.dedup();
        let most = getrlimit(Resource::Nofile).maximum.and_then(|most| i32::try_from(most).ok());
        Some(Self { filter: filter::new(), given, whole, most: most.unwrap_or(i32::MAX) })
    }

    /// Before the change of user, which takes away the right to do it.
    pub(super) fn bound_capabilities() -> Result<(), (Step, i32)> {
        let bound = || -> Result<(), Errno> {
            for capability in (0..64).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
                match capability_is_in_bounding_set(capability) {
                    // Beyond the kernel's last one.
                    Err(Errno::INVAL) => break,
                    Ok(true) if !KEPT.contains(capability) => {
                        remove_capability_from_bounding_set(capability)?;
                    }
                    Ok(_) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Ok(())
        };
        bound().map_err(at(Step::Capabilities))
    }

    /// After the change of user: what is left of the sets, in this process as in those to come.
    pub(super) fn drop_capabilities() -> Result<(), (Step, i32)> {
        let drop = || -> Result<(), Errno> {
            let now = capabilities(None)?;
            set_capabilities(
                None,
                CapabilitySets {
                    effective: now.effective & KEPT,
                    permitted: now.permitted & KEPT,
                    inheritable: now.inheritable & KEPT,
                },
            )?;
            clear_ambient_capability_set()
        };
        drop().map_err(at(Step::Capabilities))
    }

    /// The last steps: nothing after them may need a namespace or another process.
    pub(super) fn close(&self) -> Result<(), (Step, i32)> {
        self.close_descriptors()?;
        domain::enter(self.whole).map_err(at(Step::SealDomain))?;
        sys::filter_calls(&self.filter).map_err(at(Step::SealFilter))
    }

    /// Every descriptor but the given ones is closed by the exec. A given one must not lead back: from
    /// a directory of the host's mount namespace a path goes up to its writable cgroupfs.
    fn close_descriptors(&self) -> Result<(), (Step, i32)> {
        let failed = at(Step::Descriptors);
        let mut first = 0;
        for given in &self.given {
            self.close_on_exec(first, given - 1).map_err(&failed)?;
            first = given + 1;
            if leads_out(*given).map_err(&failed)? {
                let number = u16::try_from(*given).unwrap_or(u16::MAX);
                return Err((Step::SealDescriptor(number), libc::EPERM));
            }
        }
        self.close_on_exec(first, i32::MAX).map_err(&failed)
    }

    fn close_on_exec(&self, first: i32, last: i32) -> Result<(), Errno> {
        if first > last {
            return Ok(());
        }
        match sys::close_range_on_exec(first, last) {
            // Before Linux 5.11.
            Err(Errno::NOSYS | Errno::INVAL) => {
                if close_listed_on_exec(first, last).is_err() {
                    (first..=last.min(self.most)).for_each(sys::close_on_exec);
                }
                Ok(())
            }
            done => done,
        }
    }
}

/// Marks those of the descriptors that are open, as `/proc` lists them: all numbers that there could be may be 10⁹.
fn close_listed_on_exec(first: i32, last: i32) -> Result<(), Errno> {
    // The stack is all the memory there is between clone and exec.
    let mut listing = [MaybeUninit::uninit(); 2048];
    let open = open_descriptors()?;
    let mut entries = RawDir::new(&open, &mut listing);
    while let Some(entry) = entries.next() {
        if let Some(number) = number(entry?.file_name().to_bytes())
            && (first..=last).contains(&number)
        {
            sys::close_on_exec(number);
        }
    }
    Ok(())
}

/// The directory of our open descriptors, from the root of a `/proc` that is the kernel's: by now we are in the
/// program's root, where anything may bear that name.
fn open_descriptors() -> Result<OwnedFd, Errno> {
    const PROC_ROOT: u64 = 1;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = openat(CWD, c"/proc", flags, Mode::empty())?;
    if fstatfs(&proc)?.f_type != PROC_SUPER_MAGIC || fstat(&proc)?.st_ino != PROC_ROOT {
        return Err(Errno::NODEV);
    }
    openat(&proc, c"self/fd", flags, Mode::empty())
}

/// `CGROUP_SUPER_MAGIC` and `CGROUP2_SUPER_MAGIC` of `statfs(2)`.
const CGROUPFS: [u64; 2] = [0x0027_e0eb, 0x6367_7270];

fn leads_out(number: i32) -> Result<bool, Errno> {
    // SAFETY: borrowed for the two calls only; a number that is not open gives EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    match fstat(fd) {
        Err(Errno::BADF) => return Ok(false),
        Err(errno) => return Err(errno),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            return Ok(true);
        }
        Ok(_) => {}
    }
    let magic = u64::try_from(fstatfs(fd)?.f_type);
    Ok(magic.is_ok_and(|magic| CGROUPFS.contains(&magic)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
    use std::os::fd::{AsFd, AsRawFd};

    #[test]
    fn what_is_open_is_found_for_the_exec_to_close() {
        let (given, inherited) = std::io::pipe().unwrap();
        for end in [given.as_fd(), inherited.as_fd()] {
            fcntl_setfd(end, FdFlags::empty()).unwrap();
        }
        let number = inherited.as_raw_fd();
        close_listed_on_exec(number, number).unwrap();
        assert_eq!(fcntl_getfd(&inherited).unwrap(), FdFlags::CLOEXEC);
        assert_eq!(fcntl_getfd(&given).unwrap(), FdFlags::empty());
    }
}
