//! A text of the kernel that was not understood.

use std::fmt;
use std::io;

/// No kernel is known to write this. Counted from 1; the reader of the file adds its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Malformed {
    /// The line that was not understood.
    pub line: usize,
}

impl Malformed {
    /// As the failure of reading the file at `path`.
    pub(crate) fn of_file(self, path: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("{path}: {self}"))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is not understood", self.line)
    }
}

impl std::error::Error for Malformed {}
