//! The part of the D-Bus wire format that a call to systemd takes (D-Bus specification, "Message
//! Protocol"): calls are written in this machine's byte order, replies and signals are read in either.
//!
//! Whatever is read comes from another process: nothing is trusted, every length is checked.

use std::fmt;
use std::io;

/// A call, ready to be sent.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// The bus name that it goes to; none on a connection without a bus in between.
    pub(super) destination: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) signature: &'a str,
    pub(super) body: Writer,
}

const CALL: u8 = 1;
const REPLY: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;
/// `NO_AUTO_START`: nobody is started to answer us.
const FLAGS: u8 = 2;
const VERSION: u8 = 1;

/// The codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

impl Call<'_> {
    /// The bytes that go out.
    pub(super) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut header = Writer::default();
        let order = if cfg!(target_endian = "little") { b'l' } else { b'B' };
        for byte in [order, CALL, FLAGS, VERSION] {
            header.u8(byte);
        }
        header.u32(length(self.body.0.len()));
        header.u32(serial);
        header.array(8, |fields| {
            fields.field(PATH, "o", |value| value.string(self.path));
            fields.field(INTERFACE, "s", |value| value.string(self.interface));
            fields.field(MEMBER, "s", |value| value.string(self.member));
            if let Some(name) = self.destination {
                fields.field(DESTINATION, "s", |value| value.string(name));
            }
            if !self.signature.is_empty() {
                fields.field(SIGNATURE, "g", |value| value.signature(self.signature));
            }
        });
        header.align(8);
        header.0.extend_from_slice(&self.body.0);
        header.0
    }
}

/// Values in their wire form, one after the other.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend_from_slice(&value.to_ne_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.align(8);
        self.0.extend_from_slice(&value.to_ne_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u32(value.into());
    }

    pub(super) fn string(&mut self, text: &str) {
        self.u32(length(text.len()));
        self.0.extend_from_slice(text.as_bytes());
        self.u8(0);
    }

    /// An array whose elements are aligned so, as `fill` writes them.
    pub(super) fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Self)) {
        self.u32(0);
        let place = self.0.len() - 4;
        self.align(alignment);
        let begin = self.0.len();
        fill(self);
        let written = length(self.0.len() - begin);
        self.0[place..place + 4].copy_from_slice(&written.to_ne_bytes());
    }

    /// A value of this type that brings its type along.
    pub(super) fn variant(&mut self, signature: &str, fill: impl FnOnce(&mut Self)) {
        self.signature(signature);
        fill(self);
    }

    /// The beginning of a structure or a dictionary's entry.
    pub(super) fn structure(&mut self) {
        self.align(8);
    }

    fn field(&mut self, code: u8, signature: &str, fill: impl FnOnce(&mut Self)) {
        self.structure();
        self.u8(code);
        self.variant(signature, fill);
    }

    fn signature(&mut self, text: &str) {
        self.u8(u8::try_from(text.len()).expect("signatures of ours are short"));
        self.0.extend_from_slice(text.as_bytes());
        self.u8(0);
    }

    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) interface: String,
    pub(super) member: String,
    pub(super) signature: String,
    body: Vec<u8>,
    big_endian: bool,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// The answer to the call of this serial.
    Reply(u32),
    /// The refusal of the call of this serial, and the error's name.
    Error(u32, String),
    Signal,
    /// A call to us, or a kind of a later version: not our concern.
    Other,
}

/// How long the part of a header is that tells its length.
pub(super) const PREFIX: usize = 16;
/// Longer than anything that systemd tells us; the format allows 128 MiB.
const LONGEST: usize = 1 << 20;

/// How many bytes follow the first [`PREFIX`] of a message.
pub(super) fn remaining(prefix: [u8; PREFIX]) -> io::Result<usize> {
    let mut header = Reader::of(&prefix)?;
    let [_, _, _, version] = header.bytes::<4>()?;
    if version != VERSION {
        return Err(garbage("another version of the protocol"));
    }
    let body = header.u32()? as usize;
    let _serial = header.u32()?;
    let fields = header.u32()? as usize;
    if body > LONGEST || fields > LONGEST {
        return Err(garbage("a message of more than a mebibyte"));
    }
    Ok(fields.next_multiple_of(8) + body)
}

impl Message {
    /// Reads a whole message.
    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut reader = Reader::of(bytes)?;
        let [_, kind, _, _] = reader.bytes::<4>()?;
        let body = reader.u32()? as usize;
        let _serial = reader.u32()?;
        let mut fields = Fields::default();
        let end = reader.u32()? as usize + reader.at;
        while reader.at < end {
            fields.read(&mut reader)?;
        }
        reader.align(8)?;
        let body = reader.take(body)?.to_vec();
        Ok(Self {
            kind: fields.kind(kind)?,
            interface: fields.interface,
            member: fields.member,
            signature: fields.signature,
            body,
            big_endian: reader.big_endian,
        })
    }

    /// The values in it.
    pub(super) fn body(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0, big_endian: self.big_endian }
    }
}

/// The header fields that matter.
#[derive(Debug, Default)]
struct Fields {
    interface: String,
    member: String,
    error: String,
    signature: String,
    reply_to: Option<u32>,
}

impl Fields {
    fn read(&mut self, reader: &mut Reader<'_>) -> io::Result<()> {
        reader.align(8)?;
        let [code] = reader.bytes::<1>()?;
        let signature = reader.signature()?;
        // These types are all that header fields have.
        match (code, signature) {
            (INTERFACE, "s") => reader.string()?.clone_into(&mut self.interface),
            (MEMBER, "s") => reader.string()?.clone_into(&mut self.member),
            (ERROR_NAME, "s") => reader.string()?.clone_into(&mut self.error),
            (REPLY_SERIAL, "u") => self.reply_to = Some(reader.u32()?),
            (SIGNATURE, "g") => reader.signature()?.clone_into(&mut self.signature),
            (_, "s" | "o") => drop(reader.string()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.u32()?),
            _ => return Err(garbage("a header field of an unknown type")),
        }
        Ok(())
    }

    fn kind(&mut self, kind: u8) -> io::Result<Kind> {
        let answered = || self.reply_to.ok_or_else(|| garbage("an answer to nothing"));
        Ok(match kind {
            0 => return Err(garbage("a message of no kind")),
            REPLY => Kind::Reply(answered()?),
            ERROR => Kind::Error(answered()?, std::mem::take(&mut self.error)),
            SIGNAL => Kind::Signal,
            _ => Kind::Other,
        })
    }
}

/// Reads values off their wire form.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    /// Of a message, whose first byte tells the order of all others.
    fn of(bytes: &'a [u8]) -> io::Result<Self> {
        let big_endian = match bytes.first() {
            Some(b'l') => false,
            Some(b'B') => true,
            _ => return Err(garbage("no byte order")),
        };
        Ok(Self { bytes, at: 0, big_endian })
    }

    pub(super) fn u32(&mut self) -> io::Result<u32> {
        self.align(4)?;
        let bytes = self.bytes()?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// A string or an object's path.
    pub(super) fn string(&mut self) -> io::Result<&'a str> {
        let length = self.u32()? as usize;
        self.text(length)
    }

    pub(super) fn signature(&mut self) -> io::Result<&'a str> {
        let [length] = self.bytes::<1>()?;
        self.text(length.into())
    }

    fn text(&mut self, length: usize) -> io::Result<&'a str> {
        let text = self.take(length)?;
        let [0] = self.bytes::<1>()? else { return Err(garbage("a string without an end")) };
        std::str::from_utf8(text).map_err(|_| garbage("a string that is not UTF-8"))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("as many as were asked for"))
    }

    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| garbage("a message that is cut short"))?;
        self.at += count;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> io::Result<()> {
        let padding = self.at.next_multiple_of(to) - self.at;
        self.take(padding).map(drop)
    }
}

/// Not what D-Bus says.
pub(super) fn garbage(what: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no D-Bus: {what}"))
}

fn length(of: usize) -> u32 {
    u32::try_from(of).expect("what we write is short")
}

#[cfg(test)]
pub(super) mod tests;
