//! What a keeper tells its supervisor, over a pipe: records of one size, each written at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use containment_core::{Outcome, Pid, Signal};
use containment_process::rusage::CpuTime;
use containment_process::spawn::{Failure, Step};
use rustix::io::Errno;

/// A record of the pipe.
#[derive(Debug)]
pub(crate) enum Message {
    /// The program runs.
    Started(Pid),
    /// The program does not run; nothing else follows.
    Failed(Failure),
    /// The program ended.
    Ended(Outcome),
    /// Every descendant has ended and was reaped; nothing else follows.
    Empty(CpuTime),
}

pub(crate) const SIZE: usize = 24;
type Record = [u8; SIZE];
type Words = [u64; 3];

impl Message {
    /// Writes the records. They are fewer than `PIPE_BUF` bytes, so that they arrive together.
    pub(crate) fn send(messages: &[Self], pipe: BorrowedFd<'_>) -> io::Result<()> {
        let words = messages.iter().flat_map(Self::to_words);
        let bytes: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
        if bytes.is_empty() {
            return Ok(());
        }
        let written = rustix::io::retry_on_intr(|| rustix::io::write(pipe, &bytes))?;
        if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Reads the next record; `None` at the end of the pipe.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when none is there yet.
    pub(crate) fn receive(pipe: impl AsFd) -> io::Result<Option<Self>> {
        let mut record: Record = [0; SIZE];
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&pipe, &mut record))?;
        if length == 0 {
            return Ok(None);
        }
        let message = if length == SIZE { Self::from_words(words(&record)) } else { None };
        message.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn to_words(&self) -> Words {
        match self {
            Self::Started(pid) => [1, word(pid.as_raw()), 0],
            Self::Failed(Failure::Prepare(error)) => [2, errno(error), 0],
            Self::Failed(Failure::Clone(error)) => [3, errno(error), 0],
            Self::Failed(Failure::KilledAtBirth(signal)) => {
                [4, signal.map_or(0, |signal| word(signal.as_raw())), 0]
            }
            // A keeper asks nobody whether its group is frozen.
            Self::Failed(Failure::Frozen(_)) => [4, word(Signal::KILL.as_raw()), 0],
            Self::Failed(Failure::Step(step, error)) => [5, errno(error), step.to_raw().into()],
            Self::Ended(Outcome::Exited(status)) => [6, word(*status), 0],
            Self::Ended(Outcome::Signaled(signal)) => [7, word(signal.as_raw()), 0],
            Self::Empty(cpu) => [8, micros(cpu.user), micros(cpu.system)],
        }
    }

    fn from_words([tag, first, second]: Words) -> Option<Self> {
        let number = i32::try_from(first);
        let error = || number.map(io::Error::from_raw_os_error).ok();
        Some(match tag {
            1 => Self::Started(Pid::new(number.ok()?)?),
            2 => Self::Failed(Failure::Prepare(error()?)),
            3 => Self::Failed(Failure::Clone(error()?)),
            4 => Self::Failed(Failure::KilledAtBirth(Signal::new(number.ok()?))),
            5 => {
                let step = Step::from_raw(u32::try_from(second).ok()?)?;
                Self::Failed(Failure::Step(step, error()?))
            }
            6 => Self::Ended(Outcome::Exited(number.ok()?)),
            7 => Self::Ended(Outcome::Signaled(Signal::new(number.ok()?)?)),
            8 => Self::Empty(CpuTime {
                user: Duration::from_micros(first),
                system: Duration::from_micros(second),
            }),
            _ => return None,
        })
    }
}

fn words(record: &Record) -> Words {
    let mut words = [0; 3];
    for (word, bytes) in words.iter_mut().zip(record.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
    }
    words
}

/// Pids, statuses and signals are not negative.
fn word(number: i32) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// The errno; `EINVAL` for what no call reported, as a zero byte in an argument.
fn errno(error: &io::Error) -> u64 {
    word(error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error()))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_arrives_as_it_was_sent() {
        let (reader, writer) = std::io::pipe().unwrap();
        let cpu = CpuTime { user: Duration::from_micros(7), system: Duration::from_secs(9) };
        let refused = || io::Error::from_raw_os_error(13);
        let messages = [
            Message::Started(Pid::new(42).unwrap()),
            Message::Failed(Failure::Prepare(refused())),
            Message::Failed(Failure::Clone(refused())),
            Message::Failed(Failure::KilledAtBirth(Some(Signal::KILL))),
            Message::Failed(Failure::KilledAtBirth(None)),
            Message::Failed(Failure::Step(Step::Exec, refused())),
            Message::Ended(Outcome::Exited(3)),
            Message::Ended(Outcome::Signaled(Signal::TERM)),
            Message::Empty(cpu),
        ];
        Message::send(&messages, writer.as_fd()).unwrap();
        for message in &messages {
            let arrived = Message::receive(&reader).unwrap().unwrap();
            assert_eq!(format!("{arrived:?}"), format!("{message:?}"));
        }
        drop(writer);
        assert!(Message::receive(&reader).unwrap().is_none());
    }
}
