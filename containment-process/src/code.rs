//! The memory that the code of this program takes.

use std::ffi::c_void;
use std::io;

use rustix::mm::{Advice, madvise};

use crate::proc::text::read_file;

/// Gives back the pages of this program's code that are mapped: for a process that has begun, and now waits
/// for long. What it needs again is in the page cache. Breakpoints of a debugger are lost.
///
/// The kernel maps sixteen pages at each fault, so that a start has most of the code mapped, and a process that
/// is the only one of its program has that for itself.
pub fn release_code() -> io::Result<()> {
    let here = release_code as *const () as usize;
    let maps = read_file("/proc/self/maps")?;
    let around = maps.split(|byte| *byte == b'\n').find_map(|line| code_around(line, here));
    let Some((start, end)) = around else { return Ok(()) };
    // SAFETY: the range is a mapping of a file that this process cannot write to, so that every page of it reads
    // the same when it is mapped again; nothing is unmapped.
    unsafe { madvise(start as *mut c_void, end - start, Advice::LinuxDontNeed) }?;
    Ok(())
}

/// The range of a line of `/proc/PID/maps` (`proc_pid_maps(5)`), where it is code of a file, around an address, that
/// cannot be written to.
fn code_around(line: &[u8], address: usize) -> Option<(usize, usize)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).ok());
    let (start, end) = (start?, end?);
    let is_code = fields.next()? == "r-xp" && fields.nth(3)?.starts_with('/');
    (is_code && (start..end).contains(&address)).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_a_file_that_cannot_be_written_to_is_given_back() {
        let code = b"1000-3000 r-xp 00001000 fe:00 42    /usr/bin/contain";
        assert_eq!(code_around(code, 0x2fff), Some((0x1000, 0x3000)));
        assert_eq!(code_around(code, 0x3000), None);
        for other in [
            &b"1000-3000 rwxp 00001000 fe:00 42    /usr/bin/contain"[..],
            b"1000-3000 r--p 00001000 fe:00 42    /usr/bin/contain",
            b"1000-3000 r-xp 00000000 00:00 0     [vdso]",
            b"1000-3000 r-xp 00000000 00:00 0",
            b"",
        ] {
            assert_eq!(code_around(other, 0x2000), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn code_goes_on_after_its_pages_were_given_back() {
        let resident = || {
            let rollup =
                read_file("/proc/self/smaps_rollup").expect("the kernel has it since 4.14");
            let text = String::from_utf8(rollup).expect("it is ASCII");
            let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).expect("it has Rss");
            line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("KiB")
        };
        let before = resident();
        release_code().unwrap();
        let after = resident();
        assert!(after < before, "{after} KiB, and {before} before");
    }
}
