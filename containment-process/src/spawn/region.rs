//! The mapping of a spawn: a guard page, the child's stack, and above its top, on the same page, the child's
//! notes, so that one page is touched for both.
//!
//! Shared (`MAP_SHARED`) where the child gets a copy of the memory, so that its notes are seen; that costs more.
//!
//! One that served a child on our memory is kept for the next: that spares it three system calls, the last of
//! which interrupts the CPU that the child was on. So 192 KiB stay mapped, of which a page or two are in memory.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use rustix::thread::futex;

use super::Memory;
use super::silence::{Look, Seen, Silence};

/// Large enough for the largest page size of Linux (64 KiB).
const PAGE: usize = 64 * 1024;
const STACK: usize = 128 * 1024;
/// What the notes take; the stack below has to begin at a multiple of 16.
const NOTES: usize = 64;
const SIZE: usize = PAGE + STACK;
const _: () = assert!(size_of::<Notes>() <= NOTES && align_of::<Notes>() <= NOTES);

/// The one that is kept, unless a spawn is using it.
static SPARE: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

/// What the child tells, and the kernel of it.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Notes {
    aboard: AtomicU32,
    cancelled: AtomicU32,
    started: AtomicU32,
    step: AtomicU32,
    errno: AtomicI32,
}

impl Notes {
    fn clear(&self) {
        self.cancelled.store(0, Ordering::SeqCst);
        self.started.store(0, Ordering::SeqCst);
        self.errno.store(0, Ordering::SeqCst);
        self.step.store(0, Ordering::SeqCst);
    }

    /// A child is to share this memory. The kernel clears the word at this address, and wakes who waits for that,
    /// when the child executed or died (`CLONE_CHILD_CLEARTID`). It is set here: what the kernel cannot write to
    /// (`CLONE_PARENT_SETTID`) it leaves as it is, and says nothing.
    pub(super) fn expect(&self) -> *mut u32 {
        self.aboard.store(1, Ordering::SeqCst);
        self.aboard.as_ptr()
    }

    /// Whether a child shares this memory.
    pub(super) fn is_aboard(&self) -> bool {
        self.aboard.load(Ordering::SeqCst) != 0
    }

    /// There was none, or it is dead: some kernels do not clear the word for one that dumps its core.
    pub(super) fn clear_aboard(&self) {
        self.aboard.store(0, Ordering::SeqCst);
    }

    /// Waits until the child left this memory, however slow it is, or may be frozen for ever.
    pub(super) fn await_departure(&self, mut silence: Silence<'_>) -> Seen {
        while self.is_aboard() {
            // The kernel wakes those who wait for the word wherever it is mapped: not PRIVATE.
            let pause = silence.pause();
            let woken = futex::wait(&self.aboard, futex::Flags::empty(), 1, Some(&pause));
            if woken == Err(Errno::TIMEDOUT) {
                match silence.look() {
                    Look::Silent => {}
                    Look::Dead => self.clear_aboard(),
                    Look::Frozen => return Seen::Frozen,
                }
            }
        }
        Seen::Left
    }

    /// Waits until a child that was ended while it was frozen has left.
    pub(super) fn await_thaw(&self) {
        while self.is_aboard() {
            // Woken, for whatever reason: the word tells.
            let _ = futex::wait(&self.aboard, futex::Flags::empty(), 1, None);
        }
    }

    /// The child is not to execute, if it has not yet.
    pub(super) fn cancel(&self) {
        self.cancelled.store(1, Ordering::SeqCst);
    }

    /// In the child.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst) != 0
    }

    pub(super) fn set_started(&self) {
        self.started.store(1, Ordering::SeqCst);
    }

    pub(super) fn fail(&self, step: super::Step, errno: i32) {
        self.errno.store(errno, Ordering::SeqCst);
        self.step.store(step.to_raw(), Ordering::SeqCst);
    }

    pub(super) fn has_started(&self) -> bool {
        self.started.load(Ordering::SeqCst) == 1
    }

    pub(super) fn step(&self) -> u32 {
        self.step.load(Ordering::SeqCst)
    }

    pub(super) fn errno(&self) -> i32 {
        self.errno.load(Ordering::SeqCst)
    }
}

/// The mapping.
#[derive(Debug)]
pub(super) struct Region {
    base: NonNull<u8>,
    /// Whether the next spawn may have it.
    is_to_be_kept: bool,
}

impl Region {
    /// For a child on this memory, or on a copy of it.
    pub(super) fn take(memory: Memory) -> io::Result<Self> {
        let spare = match memory {
            Memory::Share | Memory::Vfork => {
                NonNull::new(SPARE.swap(std::ptr::null_mut(), Ordering::SeqCst))
            }
            Memory::Copy => None,
        };
        let Some(base) = spare else { return Self::map(memory) };
        let region = Self { base, is_to_be_kept: true };
        region.notes().clear();
        Ok(region)
    }

    pub(super) fn map(memory: Memory) -> io::Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = match memory {
            Memory::Share | Memory::Vfork => MapFlags::PRIVATE,
            Memory::Copy => MapFlags::SHARED,
        };
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing else.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), SIZE, prot, flags)? };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut region = Self { base, is_to_be_kept: false };
        // SAFETY: the page lies within the mapping and nothing is stored there.
        unsafe { mprotect(base.as_ptr().cast(), PAGE, MprotectFlags::empty())? };
        region.is_to_be_kept = memory != Memory::Copy;
        Ok(region)
    }

    pub(super) fn notes(&self) -> &Notes {
        // SAFETY: these bytes are ours for as long as `self` lives, no part of the stack, aligned, and zeroes are
        // valid `Notes`; both sides access them by atomics only.
        unsafe { self.base.add(SIZE - NOTES).cast::<Notes>().as_ref() }
    }

    /// The lowest address of the child's stack, above the guard.
    pub(super) fn stack(&self) -> *mut u8 {
        // SAFETY: the offset lies within the mapping.
        unsafe { self.base.as_ptr().add(PAGE) }
    }

    pub(super) const fn stack_size() -> usize {
        STACK - NOTES
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let (none, base) = (std::ptr::null_mut(), self.base.as_ptr());
        if self.is_to_be_kept
            && SPARE.compare_exchange(none, base, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        {
            return;
        }
        // SAFETY: the mapping is ours, and a child that shares our memory has left it.
        if let Err(errno) = unsafe { munmap(self.base.as_ptr().cast(), SIZE) } {
            tracing::warn!(%errno, "cannot unmap the stack of a spawn");
        }
    }
}
