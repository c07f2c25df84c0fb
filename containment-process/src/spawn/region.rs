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
use rustix::thread::futex::{self, Timespec};

use super::Memory;
use super::silence::{Seen, Silence};

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
    started: AtomicU32,
    step: AtomicU32,
    errno: AtomicI32,
}

impl Notes {
    fn clear(&self) {
        self.started.store(0, Ordering::SeqCst);
        self.errno.store(0, Ordering::SeqCst);
        self.step.store(0, Ordering::SeqCst);
    }

    /// The word that the kernel sets when a child begins to share this memory (`CLONE_PARENT_SETTID`), and clears,
    /// waking who waits for that, when the child executed or died (`CLONE_CHILD_CLEARTID`).
    pub(super) fn aboard(&self) -> *mut u32 {
        self.aboard.as_ptr()
    }

    /// Waits until the child left this memory, however slow it is, or may be frozen for ever.
    pub(super) fn await_departure(&self, mut silence: Silence<'_>) -> Seen {
        loop {
            match self.sleep(Some(&silence.pause())) {
                Ok(false) => return Seen::Left,
                Err(Errno::TIMEDOUT) => match silence.look() {
                    Seen::Aboard => {}
                    Seen::Left => self.forget_child(),
                    seen => return seen,
                },
                // Woken, for whatever reason: the word tells.
                Ok(true) | Err(_) => {}
            }
        }
    }

    /// It is dead. Some kernels do not clear the word for one that dumps its core.
    pub(super) fn forget_child(&self) {
        self.aboard.store(0, Ordering::SeqCst);
    }

    /// Sleeps while a child is aboard; `false` where none is.
    fn sleep(&self, timeout: Option<&Timespec>) -> Result<bool, Errno> {
        match self.aboard.load(Ordering::SeqCst) {
            0 => Ok(false),
            // The kernel wakes those who wait for the word wherever it is mapped: not PRIVATE.
            child => {
                futex::wait(&self.aboard, futex::Flags::empty(), child, timeout).map(|()| true)
            }
        }
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

/// The mapping. To drop it is to wait for a child on it.
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
    /// Not under a child that is on it.
    fn drop(&mut self) {
        while self.notes().sleep(None) != Ok(false) {}
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
