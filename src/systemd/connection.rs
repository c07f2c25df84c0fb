//! A connection to a manager: authenticated as this user, used for a call at a time, and given up at its
//! deadline. It starts no thread: only a process without others can post a guardian.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::address::Address;
use super::message::{Call, Kind, Message, PREFIX, Writer, garbage, remaining};

/// A connection on which calls can be made.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    deadline: Instant,
    serial: u32,
    is_bus: bool,
}

/// An error's name and text, as the other side gave them.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) name: String,
    pub(super) text: String,
}

/// What came of a call.
pub(super) type Answer = io::Result<Result<Message, Refused>>;

impl Connection {
    /// Connects and authenticates; everything on it has to be done by the deadline.
    pub(super) fn open(address: &Address, deadline: Instant) -> io::Result<Self> {
        let stream = address.connect()?;
        check_peer(&stream)?;
        let mut connection = Self { stream, deadline, serial: 0, is_bus: address.is_bus };
        connection.authenticate()?;
        if address.is_bus {
            connection.hello()?;
        }
        Ok(connection)
    }

    /// By the credentials that the kernel gives the other side (D-Bus specification, "EXTERNAL").
    ///
    /// The end of it is sent along: systemd lets a call lie that it reads together with the `BEGIN`, until
    /// something else arrives (seen with 252).
    fn authenticate(&mut self) -> io::Result<()> {
        let uid = rustix::process::geteuid().as_raw().to_string();
        // The hexadecimal code of each digit.
        let hex: String = uid.chars().flat_map(|digit| ['3', digit]).collect();
        self.write(format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n").as_bytes())?;
        let answer = self.line()?;
        if answer.starts_with(b"OK ") {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("it does not know us: {}", answer.escape_ascii()),
        ))
    }

    /// A line of the authentication, after which nothing comes before our first call.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        const LONGEST: usize = 512;
        let mut line = Vec::new();
        while line.len() < LONGEST {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.extend(byte);
            if let Some(text) = line.strip_suffix(b"\r\n") {
                return Ok(text.to_vec());
            }
        }
        Err(garbage("an endless line"))
    }

    /// A bus gives nobody anything before that.
    fn hello(&mut self) -> io::Result<()> {
        const BUS: &str = "org.freedesktop.DBus";
        let call = |member, signature, body| Call {
            destination: Some(BUS),
            path: "/org/freedesktop/DBus",
            interface: BUS,
            member,
            signature,
            body,
        };
        let accepted = |answer: Result<Message, Refused>| {
            answer.map(drop).map_err(|refused| io::Error::other(refused.text))
        };
        accepted(self.call(&call("Hello", "", Writer::default()))?)?;
        let mut rule = Writer::default();
        rule.string(
            "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'",
        );
        accepted(self.call(&call("AddMatch", "s", rule))?)
    }

    /// A call to the manager that this connection leads to.
    pub(super) fn call_manager(
        &mut self,
        interface: &str,
        member: &str,
        (signature, body): (&str, Writer),
        meanwhile: impl FnMut(Message),
    ) -> Answer {
        let destination = self.is_bus.then_some("org.freedesktop.systemd1");
        let path = "/org/freedesktop/systemd1";
        let call = Call { destination, path, interface, member, signature, body };
        self.exchange(&call, meanwhile)
    }

    fn call(&mut self, call: &Call<'_>) -> Answer {
        self.exchange(call, drop)
    }

    /// Sends the call and waits for its answer; what else comes first is handed to `meanwhile`.
    fn exchange(&mut self, call: &Call<'_>, mut meanwhile: impl FnMut(Message)) -> Answer {
        self.serial += 1;
        self.write(&call.encode(self.serial))?;
        loop {
            let message = self.next()?;
            match &message.kind {
                Kind::Reply(to) if *to == self.serial => return Ok(Ok(message)),
                Kind::Error(to, name) if *to == self.serial => {
                    let text = if message.signature.starts_with('s') {
                        message.body().string()?.to_owned()
                    } else {
                        name.clone()
                    };
                    return Ok(Err(Refused { name: name.clone(), text }));
                }
                _ => meanwhile(message),
            }
        }
    }

    /// The next message, whatever it is.
    pub(super) fn next(&mut self) -> io::Result<Message> {
        let mut prefix = [0; PREFIX];
        self.read(&mut prefix)?;
        let mut bytes = prefix.to_vec();
        bytes.resize(PREFIX + remaining(prefix)?, 0);
        self.read(&mut bytes[PREFIX..])?;
        Message::decode(&bytes)
    }

    fn read(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            self.stream.set_read_timeout(Some(self.time_left()?))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) => passing(error)?,
            }
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(self.time_left()?))?;
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) => passing(error)?,
            }
        }
        Ok(())
    }

    fn time_left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time"));
        }
        Ok(left)
    }
}

/// Errors after which the clock is looked at, and the call made again.
fn passing(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(()),
        _ => Err(error),
    }
}

/// Only root and we ourselves may say what becomes of this process.
fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?.uid;
    if peer.is_root() || peer == rustix::process::geteuid() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("it is served by user {}, who is neither root nor us", peer.as_raw()),
    ))
}
