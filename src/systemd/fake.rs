//! A manager, or a bus with one on it, on a socket of this process: as much of systemd as a scope takes, and
//! every way of not giving one.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::address::Address;
use super::message::tests::{encode, serial};
use super::message::{Kind, Message, PREFIX, Writer, remaining};

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Gives what is asked for; the job may be done before the call is answered.
    Gives { job_first: bool },
    /// The job ends like this.
    Ends(&'static str),
    /// The call is answered with an error.
    Refuses,
    /// The connection is closed instead of an answer.
    HangsUp,
    /// There is no answer.
    KeepsSilent,
    /// Nobody is let in.
    KnowsNobody,
    /// What comes instead of an answer is no D-Bus.
    Babbles,
    /// A bus that no systemd is on.
    HasNoManager,
}

/// The scope's name in every answer.
pub(super) const SCOPE: &str = "contain-test.scope";

/// A manager that serves connections until the test's end.
#[derive(Debug)]
pub(super) struct Fake {
    directory: tempfile::TempDir,
    calls: Receiver<Vec<u8>>,
}

impl Fake {
    pub(super) fn new(manner: Manner) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(socket(directory.path())).unwrap();
        let (sender, calls) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that has left is no matter.
                let _ = serve(stream.unwrap(), manner, &sender);
            }
        });
        Self { directory, calls }
    }

    pub(super) fn manager(&self) -> Address {
        Address::manager(socket(self.directory.path()))
    }

    pub(super) fn bus(&self) -> Address {
        Address::bus(socket(self.directory.path()))
    }

    /// The members that were called up to now, with their messages.
    pub(super) fn calls(&self) -> Vec<(String, Message)> {
        let decode = |bytes: Vec<u8>| Message::decode(&bytes).unwrap();
        let calls = self.calls.try_iter().map(decode);
        calls.map(|message| (message.member.clone(), message)).collect()
    }
}

fn socket(directory: &Path) -> std::path::PathBuf {
    directory.join("socket")
}

fn serve(mut stream: UnixStream, manner: Manner, calls: &Sender<Vec<u8>>) -> std::io::Result<()> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    // The hexadecimal code of each digit.
    let hex: String = uid.chars().flat_map(|digit| ['3', digit]).collect();
    assert_eq!(line(&mut stream)?, format!("\0AUTH EXTERNAL {hex}\r\n"));
    assert_eq!(line(&mut stream)?, "BEGIN\r\n");
    if manner == Manner::KnowsNobody {
        return stream.write_all(b"REJECTED EXTERNAL\r\n");
    }
    stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n")?;
    loop {
        let mut bytes = vec![0; PREFIX];
        stream.read_exact(&mut bytes)?;
        let rest = remaining(bytes[..].try_into().unwrap())?;
        bytes.resize(PREFIX + rest, 0);
        stream.read_exact(&mut bytes[PREFIX..])?;
        let message = Message::decode(&bytes)?;
        let number = serial(&bytes);
        // The test may be over.
        let _ = calls.send(bytes);
        let Some(answer) = answer(manner, &message, number) else { return Ok(()) };
        stream.write_all(&answer)?;
    }
}

fn line(stream: &mut UnixStream) -> std::io::Result<String> {
    let mut text = String::new();
    while !text.ends_with('\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        text.push(byte[0].into());
    }
    Ok(text)
}

/// What is sent back; `None` hangs up.
fn answer(manner: Manner, call: &Message, serial: u32) -> Option<Vec<u8>> {
    match (&*call.member, manner) {
        ("Hello" | "AddMatch", _) => Some(reply(serial, "s", |body| body.string(":1.7"))),
        ("Get", Manner::HasNoManager) => Some(error(serial, "no such name")),
        ("Get", _) => Some(reply(serial, "v", |body| {
            body.variant("s", |value| value.string("/user.slice"));
        })),
        ("StartTransientUnit", _) => start(manner, serial),
        (other, _) => Some(error(serial, &format!("no such member: {other}"))),
    }
}

fn start(manner: Manner, serial: u32) -> Option<Vec<u8>> {
    let job = reply(serial, "o", |body| body.string("/job/1"));
    match manner {
        Manner::Gives { job_first: false } => {
            Some([job, removed("other.scope", "failed"), removed(SCOPE, "done")].concat())
        }
        Manner::Gives { job_first: true } => Some([removed(SCOPE, "done"), job].concat()),
        Manner::Ends(how) => Some([job, removed(SCOPE, how)].concat()),
        Manner::Refuses => Some(error(serial, "Permission denied")),
        Manner::KeepsSilent => Some(Vec::new()),
        Manner::Babbles => Some(b"HTTP/1.1 400 Bad Request\r\n".to_vec()),
        Manner::HangsUp | Manner::KnowsNobody | Manner::HasNoManager => None,
    }
}

fn reply(to: u32, signature: &str, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut body = Writer::default();
    fill(&mut body);
    encode(&Kind::Reply(to), "", (signature, body))
}

fn error(to: u32, text: &str) -> Vec<u8> {
    let mut body = Writer::default();
    body.string(text);
    encode(&Kind::Error(to, "org.freedesktop.DBus.Error.Fake".to_owned()), "", ("s", body))
}

fn removed(unit: &str, how: &str) -> Vec<u8> {
    let mut body = Writer::default();
    body.u32(1);
    for text in ["/job/1", unit, how] {
        body.string(text);
    }
    encode(&Kind::Signal, "JobRemoved", ("uoss", body))
}
