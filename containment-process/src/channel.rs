//! A channel between two processes that carries messages: a short text, and descriptors with it.
//!
//! It is a pair of sequenced-packet sockets (unix(7)): a message arrives whole or not at all, and the end
//! of the one side is seen by the other.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use containment_core::Source;
use rustix::cmsg_space;
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg,
    sendmsg, socketpair,
};

/// One end of a channel.
///
/// ```
/// use std::io::ErrorKind;
/// use std::os::fd::AsFd;
/// use containment_process::channel::Channel;
///
/// let (ours, theirs) = Channel::pair()?;
/// assert_eq!(theirs.try_receive().unwrap_err().kind(), ErrorKind::WouldBlock);
/// let file = std::fs::File::open("/dev/null")?;
/// ours.send(b"order", &[file.as_fd()])?;
/// let message = theirs.receive()?.expect("the other end is open");
/// assert_eq!((message.text.as_slice(), message.descriptors.len()), (&b"order"[..], 1));
///
/// drop(ours);
/// assert!(theirs.receive()?.is_none());
/// assert_eq!(theirs.send(b"answer", &[]).unwrap_err().kind(), ErrorKind::BrokenPipe);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Channel(Arc<OwnedFd>);

/// What arrived at once.
#[derive(Debug)]
pub struct Message {
    /// Its text.
    pub text: Vec<u8>,
    /// The descriptors that came with it.
    pub descriptors: Vec<OwnedFd>,
}

/// The longest text of a message, in bytes.
pub const LONGEST: usize = 16 * 1024;

/// The most descriptors of a message (`SCM_MAX_FD`).
pub const MOST: usize = 253;

impl Channel {
    /// Both ends of a new channel, closed on exec.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self::adopt(one), Self::adopt(other)))
    }

    /// Takes over an end that another process handed to us.
    pub fn adopt(end: OwnedFd) -> Self {
        Self(Arc::new(end))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) when nobody listens any more; `EMSGSIZE` for a text that
    /// is too long, `EINVAL` for an empty one, which would arrive as the end of the channel.
    pub fn send(&self, text: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if text.is_empty() {
            return Err(rustix::io::Errno::INVAL.into());
        }
        if text.len() > LONGEST || descriptors.len() > MOST {
            return Err(rustix::io::Errno::MSGSIZE.into());
        }
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
        {
            return Err(rustix::io::Errno::MSGSIZE.into());
        }
        let slices = [IoSlice::new(text)];
        retry_on_intr(|| sendmsg(&*self.0, &slices, &mut ancillary, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Waits for the next message; `None` when the other end is closed.
    pub fn receive(&self) -> io::Result<Option<Message>> {
        self.take(RecvFlags::empty())
    }

    /// The next message, without waiting.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when none is there yet.
    pub fn try_receive(&self) -> io::Result<Option<Message>> {
        self.take(RecvFlags::DONTWAIT)
    }

    fn take(&self, flags: RecvFlags) -> io::Result<Option<Message>> {
        // The longest one would be four pages to write to, each of which a fork of ours would copy.
        let mut text = vec![0; self.length_of_next(flags)?.min(LONGEST)];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let received = retry_on_intr(|| {
            recvmsg(&*self.0, &mut [IoSliceMut::new(&mut text)], &mut ancillary, flags)
        });
        let received = match received {
            // It was closed since it was asked for the length.
            Err(rustix::io::Errno::CONNRESET) => return self.take(flags),
            received => received?,
        };
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            // No room for a descriptor: we have too many open.
            return Err(rustix::io::Errno::MFILE.into());
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            // Longer than we ever send: another program's.
            return Err(rustix::io::Errno::MSGSIZE.into());
        }
        text.truncate(received.bytes);
        Ok((received.bytes > 0).then_some(Message { text, descriptors }))
    }

    /// How long the next message is; 0 when the other end is closed.
    fn length_of_next(&self, flags: RecvFlags) -> io::Result<usize> {
        let flags = flags | RecvFlags::PEEK | RecvFlags::TRUNC;
        match retry_on_intr(|| recv(&*self.0, &mut [0_u8; 0], flags)) {
            Ok((_, length)) => Ok(length),
            // It was closed with something of ours unread, which is told once: what it had sent before is there still.
            Err(rustix::io::Errno::CONNRESET) => self.length_of_next(flags),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What to poll for the next message, or for the end.
    pub fn source(&self) -> Source {
        Source::readable(Arc::clone(&self.0))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_descriptors() {
        let (ours, theirs) = Channel::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        ours.send(b"one", &[writer.as_fd()]).unwrap();
        ours.send(b"two", &[]).unwrap();
        drop((ours, writer));
        let first = theirs.receive().unwrap().unwrap();
        assert_eq!((first.text.as_slice(), first.descriptors.len()), (&b"one"[..], 1));
        for descriptor in first.descriptors {
            std::fs::File::from(descriptor).write_all(b"through it").unwrap();
        }
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through it");
        assert_eq!(theirs.receive().unwrap().unwrap().text, b"two");
        assert!(theirs.receive().unwrap().is_none(), "the other end is closed");
    }

    #[test]
    fn what_another_program_sends_may_be_too_long() {
        let (ours, theirs) = Channel::pair().unwrap();
        rustix::net::send(ours.as_fd(), &vec![b'x'; LONGEST + 1], SendFlags::empty()).unwrap();
        let refused = theirs.receive().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EMSGSIZE));
        ours.send(b"short", &[]).unwrap();
        assert_eq!(theirs.receive().unwrap().unwrap().text, b"short");
    }

    #[test]
    fn what_was_sent_before_the_end_arrives_though_something_of_ours_was_not_read() {
        let (ours, theirs) = Channel::pair().unwrap();
        ours.send(b"unread", &[]).unwrap();
        theirs.send(b"one", &[]).unwrap();
        theirs.send(b"two", &[]).unwrap();
        drop(theirs);
        let next = || ours.receive().unwrap().map(|message| message.text);
        assert_eq!(next().as_deref(), Some(&b"one"[..]));
        assert_eq!(next().as_deref(), Some(&b"two"[..]));
        assert_eq!(next(), None);
    }

    #[test]
    fn what_has_not_arrived_is_not_waited_for() {
        let (ours, theirs) = Channel::pair().unwrap();
        assert_eq!(theirs.try_receive().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let refused = ours.send(&vec![0; LONGEST + 1], &[]).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EMSGSIZE));
        assert_eq!(ours.send(b"", &[]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        drop(theirs);
        assert_eq!(ours.send(b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
