//! A ring into which the kernel writes what happens on one CPU: `perf_event_open`(2) with a dummy event,
//! whose side-band records name every fork, exec and exit.
//!
//! For all processes of a CPU, not for one and its children: that would make the kernel patch itself
//! and wait for a grace period, 10 ms each time, where this takes some 0.1.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use containment_core::{Pid, Source};

/// How much is in a ring, where pages are no longer than that. It announces itself when it is full to an eighth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Some 200 short processes, of everybody on that CPU: to map it takes a third of what the large one takes, and
    /// most runs need no more.
    Small = 32 * 1024,
    /// Some 900.
    Large = 128 * 1024,
}

impl Size {
    fn bytes(self) -> usize {
        self as usize
    }

    /// How much is in a ring that announces itself.
    pub(super) fn watermark(self) -> usize {
        self.bytes() / 8
    }
}

/// Where the kernel keeps how much it has written, and we how much we have read.
const HEAD: usize = 1024;
const TAIL: usize = 1032;

/// `struct perf_event_attr`, as long as it was in Linux 4.8.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    period: u64,
    sample: u64,
    format: u64,
    flags: u64,
    watermark: u32,
    unused: [u32; 10],
    clock: i32,
    more_unused: [u32; 4],
}

/// What the kernel writes for one CPU.
#[derive(Debug)]
pub(super) struct Ring {
    fd: Arc<OwnedFd>,
    memory: NonNull<u8>,
    size: Size,
    /// How long a page is, and what follows the first one: the data.
    page: usize,
    data: usize,
    /// Who has it mapped: a fork has a hole there (`VM_DONTCOPY`), or whatever was mapped into it since.
    owner: Pid,
}

// SAFETY: the memory is shared with the kernel alone; what is written to it needs `&mut`.
unsafe impl Send for Ring {}
// SAFETY: `&Ring` gives access to the descriptor only.
unsafe impl Sync for Ring {}

impl Ring {
    /// Listens to a CPU.
    ///
    /// # Errors
    /// `EACCES` or `EPERM` for who may not watch others' processes (`CAP_PERFMON`).
    pub(super) fn open(cpu: u16, size: Size) -> io::Result<Self> {
        let fd = open_event(cpu, size.watermark())?;
        let page = rustix::param::page_size();
        let data = size.bytes().max(page);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let memory = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                page + data,
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::SHARED,
                &fd,
                0,
            )
        }?;
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { fd: Arc::new(fd), memory, size, page, data, owner: Pid::current() })
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    /// Ready when much was written.
    pub(super) fn source(&self) -> Source {
        Source::readable(Arc::clone(&self.fd))
    }

    /// Takes out what was written.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let data = self.data;
        let head = self.counter(HEAD).load(Ordering::Acquire);
        let tail = self.counter(TAIL).load(Ordering::Relaxed);
        let length = usize::try_from(head.wrapping_sub(tail)).unwrap_or(data).min(data);
        let start = usize::try_from(tail % data as u64).unwrap_or_default();
        let (first, second) = (length.min(data - start), length.saturating_sub(data - start));
        let mut bytes = Vec::with_capacity(length);
        // SAFETY: both parts are within the data that follows the first page; the kernel does not write
        // to what lies between tail and head.
        unsafe {
            let data = self.memory.add(self.page);
            bytes.extend_from_slice(std::slice::from_raw_parts(data.add(start).as_ptr(), first));
            bytes.extend_from_slice(std::slice::from_raw_parts(data.as_ptr(), second));
        }
        self.counter(TAIL).store(head, Ordering::Release);
        bytes
    }

    fn counter(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: an aligned word of the first page, which lives as long as the mapping; kernel and we
        // access it atomically.
        unsafe { self.memory.add(offset).cast::<AtomicU64>().as_ref() }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.owner != Pid::current() {
            return;
        }
        // SAFETY: this process made the mapping, and nothing refers to it any more.
        let unmapped =
            unsafe { rustix::mm::munmap(self.memory.as_ptr().cast(), self.page + self.data) };
        if let Err(errno) = unmapped {
            tracing::warn!(%errno, "cannot unmap a ring of the kernel's; its memory stays");
        }
    }
}

fn open_event(cpu: u16, watermark: usize) -> io::Result<OwnedFd> {
    const SOFTWARE: u32 = 1;
    const DUMMY: u64 = 9;
    const TIME: u64 = 1 << 2;
    const EXCLUDE_KERNEL: u64 = 1 << 5;
    const COMM: u64 = 1 << 9;
    const TASK: u64 = 1 << 13;
    const USE_WATERMARK: u64 = 1 << 14;
    const SAMPLE_ID_ALL: u64 = 1 << 18;
    const USE_CLOCK: u64 = 1 << 25;
    const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;
    let attributes = Attributes {
        kind: SOFTWARE,
        size: u32::try_from(size_of::<Attributes>()).unwrap_or_default(),
        config: DUMMY,
        sample: TIME,
        flags: EXCLUDE_KERNEL | COMM | TASK | USE_WATERMARK | SAMPLE_ID_ALL | USE_CLOCK,
        watermark: u32::try_from(watermark).unwrap_or_default(),
        clock: libc::CLOCK_BOOTTIME,
        ..Attributes::default()
    };
    // SAFETY: the attributes are as long as they say, and outlive the call; the rest are integers.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            -1_i32,
            i32::from(cpu),
            -1_i32,
            CLOSE_ON_EXEC,
        )
    };
    match i32::try_from(fd) {
        // SAFETY: the call succeeded, so this is a new descriptor of ours.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pidfd::{PidFd, Waited};
    use containment_core::Outcome;
    use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap_anonymous, msync};

    /// Maps something where the ring is not, in a fork, and drops the ring there; whether both could be done.
    fn drop_in_fork(ring: Ring) -> bool {
        let (memory, length) = (ring.memory.as_ptr().cast(), ring.page + ring.data);
        let (prot, flags) = (ProtFlags::READ, MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE);
        // SAFETY: a hole is filled, or nothing is done.
        let mapped = unsafe { mmap_anonymous(memory, length, prot, flags) }.is_ok();
        drop(ring);
        // SAFETY: a look at the range; without the flags that write back it changes nothing.
        mapped && unsafe { msync(memory, length, MsyncFlags::ASYNC) }.is_ok()
    }

    #[test]
    fn a_fork_unmaps_nothing_of_its_own() {
        let Ok(ring) = Ring::open(0, Size::Small) else {
            return crate::must_run::skip("ancestry", &"this process may not watch others");
        };
        // SAFETY: the child makes system calls only, and ends without running anything of ours.
        let pid = match unsafe { libc::fork() } {
            // SAFETY: it ends the child at once.
            0 => unsafe { libc::_exit(i32::from(!drop_in_fork(ring))) },
            pid => Pid::new(pid).expect("it can be forked"),
        };
        let child = PidFd::open(pid).unwrap().unwrap();
        assert_eq!(child.wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
    }

    #[test]
    fn the_attributes_are_laid_out_as_the_kernel_has_them() {
        assert_eq!(size_of::<Attributes>(), 112);
        assert_eq!(std::mem::offset_of!(Attributes, flags), 40);
        assert_eq!(std::mem::offset_of!(Attributes, watermark), 48);
        assert_eq!(std::mem::offset_of!(Attributes, clock), 92);
    }
}
