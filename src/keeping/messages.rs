//! What a process and its helper, and a keeper and whoever asked for it, tell each other.

use containment_core::{Error, ErrorKind, Operation, Pid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::registry::{Process, WrittenOutcome};

/// The version of what is told; both sides have to be of the same.
pub(super) const VERSION: u32 = 2;

/// The last message to a helper, whose owner needs it no more.
pub(super) const END: &[u8] = b"end";

/// The first message to a helper, with a pidfd of its owner and the state directory.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) version: u32,
    pub(super) owner: Process,
    /// For messages: what is acted on is the descriptor.
    pub(super) state_dir: String,
}

/// What a helper answers to an order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// There is a keeper of this pid; its pidfd comes with it.
    Keeper(i32),
    /// There is none.
    Refused(WrittenError),
}

/// What a keeper tells of a program in a cgroup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ProgramEvent {
    /// It runs; its pidfd comes with it.
    Started(i32),
    /// It does not run; nothing else follows.
    Failed(WrittenError),
    /// It ended; nothing else follows.
    Ended(WrittenOutcome),
}

/// An error on its way to another process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WrittenError {
    kind: String,
    placing: bool,
    path: Option<std::ffi::OsString>,
    errno: Option<i32>,
    reason: Option<String>,
    remedy: Option<String>,
}

/// The kinds that are told apart on the other side.
const KINDS: [ErrorKind; 14] = [
    ErrorKind::Unsupported,
    ErrorKind::NotFound,
    ErrorKind::Gone,
    ErrorKind::Busy,
    ErrorKind::Frozen,
    ErrorKind::InternalProcesses,
    ErrorKind::DomainInvalid,
    ErrorKind::Killed,
    ErrorKind::Malformed,
    ErrorKind::PermissionDenied,
    ErrorKind::InvalidInput,
    ErrorKind::ProgramNotFound,
    ErrorKind::ProgramNotExecutable,
    ErrorKind::KeeperLost,
];

impl WrittenError {
    pub(super) fn new(error: &Error) -> Self {
        let reason = error.reason().to_string();
        // With an errno its words are added again on the other side.
        let words = error.errno().map(|errno| Error::from_errno(Operation::Spawn, errno));
        let reason = match words.map(|words| words.reason().to_string()) {
            Some(words) => reason.strip_suffix(&format!(": {words}")).map(str::to_owned),
            None => Some(reason),
        };
        Self {
            kind: format!("{:?}", error.kind()),
            placing: error.operation() == Operation::Place,
            path: error.path().map(|path| path.as_os_str().to_owned()),
            errno: error.errno(),
            reason,
            remedy: error.remedy().map(str::to_owned),
        }
    }

    pub(super) fn read(self) -> Error {
        let kind = KINDS.into_iter().find(|kind| format!("{kind:?}") == self.kind);
        let operation = if self.placing { Operation::Place } else { Operation::Spawn };
        let mut error = Error::new(kind.unwrap_or(ErrorKind::System), operation);
        if let Some(errno) = self.errno {
            error = error.with_errno(errno);
        }
        if let Some(reason) = self.reason {
            error = error.because(reason);
        }
        if let Some(path) = self.path {
            error = error.with_path(path);
        }
        match self.remedy {
            Some(remedy) => error.advise(remedy),
            None => error,
        }
    }
}

/// A message's text.
pub(super) fn write(message: &impl Serialize) -> std::io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(message)?)
}

/// What a message's text says.
pub(super) fn read<T: DeserializeOwned>(text: &[u8]) -> std::io::Result<T> {
    Ok(serde_json::from_slice(text)?)
}

/// A pid that was told.
pub(super) fn pid(raw: i32) -> std::io::Result<Pid> {
    Pid::new(raw).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_arrives_as_it_was_sent() {
        let missing = Error::from_errno(Operation::Spawn, 2)
            .with_kind(ErrorKind::ProgramNotFound)
            .with_path("/no/such");
        let directory = Error::from_errno(Operation::Spawn, 13).because("cannot change to it");
        let frozen = Error::new(ErrorKind::Frozen, Operation::Place).advise("thaw it");
        for sent in [missing, directory, frozen] {
            let text = write(&WrittenError::new(&sent)).unwrap();
            let arrived = read::<WrittenError>(&text).unwrap().read();
            assert_eq!(arrived.to_string(), sent.to_string());
            assert_eq!((arrived.kind(), arrived.path()), (sent.kind(), sent.path()));
            assert_eq!(arrived.remedy(), sent.remedy());
        }
    }
}
