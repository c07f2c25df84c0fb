//! Faults to order: a queue of failures for each operation.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use containment_core::{Error, ErrorKind, Operation};

/// How an operation is to fail.
#[derive(Clone)]
pub enum Fault {
    /// With this errno, and the kind that follows from it.
    Errno(i32),
    /// With an error of this kind.
    Kind(ErrorKind),
    /// With an error that is made each time.
    Made(Arc<dyn Fn() -> Error + Send + Sync>),
}

impl Fault {
    fn error(&self, operation: Operation) -> Error {
        match self {
            Self::Errno(errno) => Error::from_errno(operation, *errno),
            Self::Kind(kind) => Error::new(*kind, operation),
            Self::Made(make) => make(),
        }
    }
}

impl From<i32> for Fault {
    fn from(errno: i32) -> Self {
        Self::Errno(errno)
    }
}

impl From<ErrorKind> for Fault {
    fn from(kind: ErrorKind) -> Self {
        Self::Kind(kind)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => write!(f, "Errno({errno})"),
            Self::Kind(kind) => write!(f, "Kind({kind:?})"),
            Self::Made(_) => f.write_str("Made"),
        }
    }
}

/// The faults that wait for their operation.
#[derive(Debug, Default)]
pub(crate) struct Faults(HashMap<Operation, VecDeque<(Fault, usize)>>);

impl Faults {
    pub(crate) fn add(&mut self, operation: Operation, fault: Fault, times: usize) {
        if times > 0 {
            self.0.entry(operation).or_default().push_back((fault, times));
        }
    }

    /// The failure that this call of `operation` meets, if any.
    pub(crate) fn meet(&mut self, operation: Operation) -> Result<(), Error> {
        let Some(queue) = self.0.get_mut(&operation) else { return Ok(()) };
        let Some((fault, left)) = queue.front_mut() else { return Ok(()) };
        let error = fault.error(operation);
        *left -= 1;
        if *left == 0 {
            queue.pop_front();
        }
        Err(error)
    }
}
