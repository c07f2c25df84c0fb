//! Reads small files of the kernel whole, and picks numbers out of them.

use std::io;
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::retry_on_intr;

use crate::malformed::Malformed;

/// Enough for most files in one read: a page, which is also what the kernel formats at a time.
const CHUNK: usize = 4096;

/// The whole file at `path`.
pub(crate) fn read_file(path: &str) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))?;
    Ok(read_to_end(file)?)
}

/// What is left of an open file. Unlike `std`, it does not ask for the size first, which is 0 here.
pub(crate) fn read_to_end(file: impl AsFd) -> rustix::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(CHUNK);
    loop {
        text.reserve(CHUNK / 2);
        if retry_on_intr(|| rustix::io::read(&file, spare_capacity(&mut text)))? == 0 {
            return Ok(text);
        }
    }
}

/// What is left of an open file of records that are all shorter than half a page, as cgroupfs has them: the
/// kernel formats a page of them at a time, so what is shorter than the other half is the end.
pub(crate) fn read_records(file: impl AsFd) -> rustix::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(CHUNK);
    loop {
        text.reserve(CHUNK);
        if retry_on_intr(|| rustix::io::read(&file, spare_capacity(&mut text)))? < CHUNK / 2 {
            return Ok(text);
        }
    }
}

/// The lines of a text, without their newlines and without empty ones.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// Whether `is_line` takes every line of a text, and each is ended.
pub(crate) fn check(text: &[u8], is_line: impl Fn(&[u8]) -> bool) -> Result<(), Malformed> {
    let whole = text.split_inclusive(|byte| *byte == b'\n');
    let mut lines = whole.map(|line| line.strip_suffix(b"\n"));
    match lines.position(|line| !line.is_some_and(&is_line)) {
        Some(index) => Err(Malformed { line: index + 1 }),
        None => Ok(()),
    }
}

/// A decimal number with nothing around it.
pub(crate) fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    // `parse` alone would take "+1".
    let field = std::str::from_utf8(field).ok().filter(|field| !field.starts_with('+'))?;
    field.parse().ok()
}
