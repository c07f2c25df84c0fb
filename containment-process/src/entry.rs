//! How a program begins that lives for milliseconds: without what the standard library does before `main` for a
//! program that overflows its stack. To find out where that stack ends it reads `/proc/self/maps`, or tries page by
//! page, which took a fiftieth to a twentieth of a short run. An overflow is a SIGSEGV then, and nothing is said.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::panic;

use crate::signals;

/// Has the program begin at `$main`, a `fn(&[OsString]) -> u8` from the words of the command line, the program's
/// own name first, to the exit status. For a binary that is `#![no_main]`; in it `std::env::args` may give nothing.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: a binary has one `main`, and this one has the signature that C gives it.
        #[unsafe(export_name = "main")]
        extern "C" fn begin(
            count: ::std::ffi::c_int,
            words: *const *const ::std::ffi::c_char,
        ) -> ::std::ffi::c_int {
            // SAFETY: they are what libc gives a program.
            unsafe { $crate::entry::begin(count, words, $main) }
        }
    };
}

/// What a program that panicked exits with, as the standard library has it.
const PANICKED: i32 = 101;

/// What the standard library's runtime does, but for what the module says.
///
/// # Safety
/// `words` points to `count` strings of C, which stay where they are.
#[doc(hidden)]
pub unsafe fn begin(count: c_int, words: *const *const c_char, main: fn(&[OsString]) -> u8) -> ! {
    give_standard_streams();
    signals::ignore_failed_writes();
    let word = |at| {
        // SAFETY: the caller's promise, for each of so many.
        let word = unsafe { CStr::from_ptr(*words.add(at)) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    };
    let words: Vec<_> = (0..usize::try_from(count).unwrap_or(0)).map(word).collect();
    let status = panic::catch_unwind(|| main(&words)).map_or(PANICKED, i32::from);
    // Writes what is left in the buffer of standard output, too.
    std::process::exit(status)
}

/// A stream that is closed becomes `/dev/null`: the next file that is opened would be taken for it.
fn give_standard_streams() {
    for stream in 0..3 {
        // SAFETY: looks at a descriptor, which may be none. The path is a string of C, and what is opened is the
        // lowest that is free, which is this one, and stays open for good.
        let is_open = unsafe {
            libc::fcntl(stream, libc::F_GETFD) != -1
                || libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) == stream
        };
        if !is_open {
            // There is nobody to tell, and what is written to a stream would go to some file.
            std::process::abort();
        }
    }
}
