//! A program on its way to the process that starts it: everything by which it differs from that process,
//! and everything that it would have inherited from this one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use containment_core::{
    Bind, Isolation, Pid, ProcessGroup, Program, Resource, Rlimit, Seal, SignalSet, Stream, User,
};
use containment_process::channel::{Channel, LONGEST, Message};
use containment_process::signals;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::registry::WrittenId;

/// How the text of an order begins.
const ORDER: u8 = b'=';

/// The text of a message whose first descriptor is a file with the order.
const IN_FILE: &[u8] = b"file";

/// What a keeper is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WrittenOrder {
    pub(super) group: WrittenId,
    /// The argument of setpgid(2) for it.
    pub(super) process_group: i32,
    pub(super) lasting: bool,
    program: WrittenProgram,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenProgram {
    name: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<OsString>,
    /// Which of the descriptors that come with it each stream is; none for `/dev/null`.
    streams: [Option<usize>; 3],
    /// The numbers of the descriptors after those.
    descriptors: Vec<i32>,
    mask: u64,
    isolation: WrittenIsolation,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenIsolation {
    user: Option<(u32, u32, Vec<u32>)>,
    rlimits: Vec<(String, Option<u64>, Option<u64>)>,
    no_new_privileges: bool,
    root: Option<OsString>,
    binds: Vec<(OsString, OsString, bool)>,
    /// Whether it is sealed, and then whether wholly.
    seal: Option<bool>,
}

impl WrittenOrder {
    /// An order, and the descriptors that go with it.
    pub(super) fn new<'a>(
        group: WrittenId,
        process_group: i32,
        lasting: bool,
        program: &'a Program,
        ours: &'a [OwnedFd; 3],
    ) -> io::Result<(Self, Vec<BorrowedFd<'a>>)> {
        let (program, descriptors) = WrittenProgram::new(program, ours)?;
        Ok((Self { group, process_group, lasting, program }, descriptors))
    }

    /// Sends it with the descriptors that go with it: in the message or, where that would be too long, in a file
    /// without a name.
    pub(super) fn send(&self, control: &Channel, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = postcard::to_extend(self, vec![ORDER]).map_err(malformed)?;
        if text.len() <= LONGEST {
            match control.send(&text, descriptors) {
                // The host allows less.
                Err(error) if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => {}
                sent => return sent,
            }
        }
        let mut file = File::from(memfd_create(c"order", MemfdFlags::CLOEXEC)?);
        file.write_all(&text)?;
        let file = [file.as_fd()];
        control.send(IN_FILE, &[&file, descriptors].concat())
    }

    /// The order of a message, and the descriptors that go with it.
    pub(super) fn receive(message: Message) -> io::Result<(Self, impl Iterator<Item = OwnedFd>)> {
        let Message { mut text, descriptors } = message;
        let mut descriptors = descriptors.into_iter();
        if text == IN_FILE {
            let mut file = File::from(descriptors.next().ok_or(io::ErrorKind::InvalidData)?);
            file.rewind()?;
            text.clear();
            file.read_to_end(&mut text)?;
        }
        let order = text.strip_prefix(&[ORDER]).ok_or(io::ErrorKind::InvalidData)?;
        match postcard::take_from_bytes(order).map_err(malformed)? {
            (order, []) => Ok((order, descriptors)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The program, with the descriptors that came.
    pub(super) fn program(&self, descriptors: Vec<OwnedFd>) -> Option<Program> {
        let group = match self.process_group {
            0 => ProcessGroup::Lead,
            leader => ProcessGroup::Join(Pid::new(leader)?),
        };
        Some(self.program.read(descriptors)?.process_group(group))
    }
}

fn malformed(error: postcard::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Copies of our own standard streams, for programs that inherit them.
pub(super) fn own_streams() -> io::Result<[OwnedFd; 3]> {
    Ok([
        io::stdin().as_fd().try_clone_to_owned()?,
        io::stdout().as_fd().try_clone_to_owned()?,
        io::stderr().as_fd().try_clone_to_owned()?,
    ])
}

impl WrittenProgram {
    fn new<'a>(
        program: &'a Program,
        ours: &'a [OwnedFd; 3],
    ) -> io::Result<(Self, Vec<BorrowedFd<'a>>)> {
        let (streams, mut descriptors) = streams(program, ours);
        let further = program.descriptors();
        descriptors.extend(further.iter().map(|(_, descriptor)| descriptor.as_fd()));
        let mask = match program.mask() {
            Some(mask) => mask,
            None => signals::block(SignalSet::default())?,
        };
        let directory = match program.directory() {
            Some(directory) => Some(directory.as_os_str().to_owned()),
            None => std::env::current_dir().ok().map(Into::into),
        };
        let written = Self {
            name: program.name().to_owned(),
            arguments: program.arguments().to_vec(),
            environment: program.environment(std::env::vars_os()).collect(),
            directory,
            streams,
            descriptors: further.iter().map(|(number, _)| *number).collect(),
            mask: mask.bits(),
            isolation: WrittenIsolation::new(program.isolation()),
        };
        Ok((written, descriptors))
    }

    fn read(&self, descriptors: Vec<OwnedFd>) -> Option<Program> {
        let descriptors: Vec<_> = descriptors.into_iter().map(Arc::new).collect();
        let stream = |place: Option<usize>| {
            let Some(place) = place else { return Some(Stream::Null) };
            descriptors.get(place).map(|descriptor| Stream::Fd(Arc::clone(descriptor)))
        };
        let [stdin, stdout, stderr] = self.streams.map(stream);
        let mut program = Program::new(&self.name)
            .args(&self.arguments)
            .env_clear()
            .signal_mask(SignalSet::from_bits(self.mask))
            .stdin(stdin?)
            .stdout(stdout?)
            .stderr(stderr?);
        // Of two of one name the first counts (getenv(3)): it is set last.
        for (name, value) in self.environment.iter().rev() {
            program = program.env(name, value);
        }
        if let Some(directory) = &self.directory {
            program = program.current_dir(directory);
        }
        let first = self.streams.iter().flatten().count();
        for (number, descriptor) in self.descriptors.iter().zip(descriptors.get(first..)?) {
            program = program.descriptor(*number, descriptor.try_clone().ok()?);
        }
        self.isolation.apply(program)
    }
}

/// The descriptors of the program's streams, and which of them each stream is.
fn streams<'a>(
    program: &'a Program,
    ours: &'a [OwnedFd; 3],
) -> ([Option<usize>; 3], Vec<BorrowedFd<'a>>) {
    let (mut places, mut descriptors) = ([None; 3], Vec::new());
    for ((place, stream), own) in places.iter_mut().zip(program.streams()).zip(ours) {
        let descriptor = match stream {
            Stream::Null => continue,
            Stream::Inherit => own.as_fd(),
            Stream::Fd(descriptor) => descriptor.as_fd(),
        };
        *place = Some(descriptors.len());
        descriptors.push(descriptor);
    }
    (places, descriptors)
}

impl WrittenIsolation {
    fn new(isolation: &Isolation) -> Self {
        let user = isolation.user.as_ref();
        let rlimit = |limit: &Rlimit| (limit.resource.name().to_owned(), limit.soft, limit.hard);
        let bind =
            |bind: &Bind| (bind.source.clone().into(), bind.target.clone().into(), bind.writable);
        Self {
            user: user.map(|user| (user.uid, user.gid, user.groups.clone())),
            rlimits: isolation.rlimits.iter().map(rlimit).collect(),
            no_new_privileges: isolation.no_new_privileges,
            root: isolation.root.clone().map(Into::into),
            binds: isolation.binds.iter().map(bind).collect(),
            seal: match isolation.seal {
                Seal::Open => None,
                Seal::Whole => Some(true),
                Seal::BestEffort => Some(false),
            },
        }
    }

    fn apply(&self, mut program: Program) -> Option<Program> {
        if let Some((uid, gid, groups)) = self.user.clone() {
            program = program.user(User { uid, gid, groups });
        }
        for (resource, soft, hard) in &self.rlimits {
            let resource = resource.parse::<Resource>().ok()?;
            program = program.rlimit(Rlimit { resource, soft: *soft, hard: *hard });
        }
        if self.no_new_privileges {
            program = program.no_new_privileges();
        }
        if let Some(root) = &self.root {
            program = program.root_directory(root);
        }
        for (source, target, writable) in self.binds.clone() {
            program = program.bind(Bind { writable, ..Bind::writable(source, target) });
        }
        Some(match self.seal {
            None => program,
            Some(true) => program.seal(Seal::Whole),
            Some(false) => program.seal(Seal::BestEffort),
        })
    }
}

#[cfg(test)]
mod tests {
    use containment_core::{Backend, GroupId, Identity};

    use super::*;

    /// In a message, and in a file.
    #[test]
    fn a_program_arrives_as_it_was_sent() {
        arrives("a b");
        arrives(&"long".repeat(LONGEST));
    }

    fn arrives(argument: &str) {
        let (reader, writer) = io::pipe().unwrap();
        let program = Program::new("make")
            .args(["-j8", argument])
            .env_clear()
            .env("LANG", "C")
            .env("EMPTY", "")
            .current_dir("/tmp")
            .stdin(Stream::Null)
            .stdout(writer)
            .descriptor(7, reader)
            .signal_mask(SignalSet::from_bits(0x200))
            .user(User { uid: 5, gid: 6, groups: vec![7] })
            .rlimit(Rlimit { resource: Resource::Core, soft: Some(0), hard: None })
            .root_directory("/srv")
            .bind(Bind::read_only("/a", "/b"))
            .seal(Seal::BestEffort);
        let name = "job".parse().unwrap();
        let identity = Identity::Serial(3);
        let id = GroupId { backend: Backend::ProcessGroup, name, identity };
        let ours = own_streams().unwrap();
        let written = WrittenId::new(&id).unwrap();
        let (order, descriptors) = WrittenOrder::new(written, 0, true, &program, &ours).unwrap();
        assert_eq!(descriptors.len(), 3, "stdout, stderr and one more");
        let (here, there) = Channel::pair().unwrap();
        order.send(&here, &descriptors).unwrap();
        let message = there.receive().unwrap().unwrap();
        let more = [&message.text[..], b"x"].concat();
        let more = WrittenOrder::receive(Message { text: more, descriptors: Vec::new() });
        assert_eq!(more.map(drop).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let (order, descriptors) = WrittenOrder::receive(message).unwrap();
        let arrived = order.program(descriptors.collect()).unwrap();
        assert_eq!(arrived.name(), program.name());
        assert_eq!(arrived.arguments(), program.arguments());
        assert!(arrived.environment([]).eq(program.environment([])));
        assert_eq!((arrived.directory(), arrived.mask()), (program.directory(), program.mask()));
        assert_eq!(arrived.isolation(), program.isolation());
        assert_eq!(arrived.descriptors()[0].0, 7);
        assert!(matches!(arrived.streams()[0], Stream::Null));
        assert!(matches!(arrived.streams()[2], Stream::Fd(_)), "what it would have inherited");
        assert_eq!(order.group.read(), Some(id));
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for text in [&b"order"[..], b"=", b"=x", b"file"] {
            let message = Message { text: text.to_vec(), descriptors: Vec::new() };
            let refused = WrittenOrder::receive(message).map(drop).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{text:?}");
        }
    }
}
