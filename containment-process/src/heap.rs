//! Memory for a process that lives for milliseconds.
//!
//! Such a process spends more time on getting memory than on using it: libc's allocator (musl's most of
//! all) asks for a few pages at a time, and each page that is touched for the first time is a fault. Here
//! memory comes in pieces whose pages are there at once.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::{Allocator, Dlmalloc};
use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap, munmap};

use crate::worker;

/// What the allocator asks for at a time, unless it needs more: what a short run needs, and no less than a page,
/// which is larger on other architectures.
const PIECE: usize = if cfg!(target_arch = "x86_64") { 16 * 1024 } else { 64 * 1024 };

/// An allocator for a program to name as its `#[global_allocator]`.
pub struct Heap(Mutex<Dlmalloc<Pages>>);

impl Heap {
    /// An empty one.
    pub const fn new() -> Self {
        let mut heap = Dlmalloc::new_with_allocator(Pages);
        heap.set_granularity(PIECE);
        Self(Mutex::new(heap))
    }

    /// A lock of the standard library allocates nothing on Linux: it is a futex.
    fn lock(&self) -> MutexGuard<'_, Dlmalloc<Pages>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Heap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heap").finish_non_exhaustive()
    }
}

// SAFETY: each call is passed on under the lock, with the size and alignment that the block was asked
// for with; nothing in between unwinds.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout is not empty.
        given(unsafe { self.lock().malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout is not empty.
        given(unsafe { self.lock().calloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller got this block from here, by this layout.
        unsafe { self.lock().free(block, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller got this block from here, by this layout, and the new size is not 0.
        given(unsafe { self.lock().realloc(block, layout.size(), layout.align(), size) })
    }
}

/// Whoever is given nothing aborts. A worker that stands apart is ended before.
fn given(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        worker::exit_if_apart();
    }
    block
}

/// The kernel's pages.
struct Pages;

// SAFETY: what is given is a new mapping of that size, which nobody else knows of; what is changed or
// taken back is one that was given.
unsafe impl Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // Not all of a large block may ever be used.
        let at_once = if size <= PIECE { MapFlags::POPULATE } else { MapFlags::empty() };
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing else.
        let mapped =
            unsafe { mmap_anonymous(ptr::null_mut(), size, prot, MapFlags::PRIVATE | at_once) };
        mapped.map_or((ptr::null_mut(), 0, 0), |base| (base.cast(), size, 0))
    }

    fn remap(&self, base: *mut u8, old: usize, new: usize, can_move: bool) -> *mut u8 {
        let how = if can_move { MremapFlags::MAYMOVE } else { MremapFlags::empty() };
        // SAFETY: the caller's mapping, of which nothing is in use beyond the new size.
        let moved = unsafe { mremap(base.cast(), old, new, how) };
        moved.map_or(ptr::null_mut(), <*mut _>::cast)
    }

    fn free_part(&self, base: *mut u8, old: usize, new: usize) -> bool {
        // SAFETY: the end of the caller's mapping, which is not in use.
        unsafe { munmap(base.add(new).cast(), old - new) }.is_ok()
    }

    fn free(&self, base: *mut u8, size: usize) -> bool {
        // SAFETY: the caller's mapping, which is not in use.
        unsafe { munmap(base.cast(), size) }.is_ok()
    }

    fn can_release_part(&self, _: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        // A multiple of what it is; to ask would take memory on some kernels.
        PIECE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills a block with its number, and checks that no other one wrote to it.
    #[test]
    fn blocks_are_aligned_apart_and_keep_what_they_hold() {
        let heap = Heap::new();
        let mut blocks = Vec::new();
        for number in 1..=200_u8 {
            let size = usize::from(number) * if number % 50 == 0 { 4096 } else { 7 };
            let layout = Layout::from_size_align(size, 1 << (number % 8)).unwrap();
            // SAFETY: the layout is not empty, and the block is as long as it says.
            unsafe {
                let block = heap.alloc_zeroed(layout);
                assert_eq!(block.align_offset(layout.align()), 0);
                assert!(std::slice::from_raw_parts(block, size).iter().all(|byte| *byte == 0));
                block.write_bytes(number, size);
                let larger = Layout::from_size_align(size * 3, layout.align()).unwrap();
                let block = heap.realloc(block, layout, larger.size());
                block.write_bytes(number, larger.size());
                blocks.push((block, larger, number));
            }
        }
        for (block, layout, number) in blocks {
            // SAFETY: it was made above by this layout, and is given back once.
            unsafe {
                let bytes = std::slice::from_raw_parts(block, layout.size());
                assert!(bytes.iter().all(|byte| *byte == number), "block {number}");
                heap.dealloc(block, layout);
            }
        }
    }
}
