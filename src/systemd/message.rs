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
            (INTERFACE, "s") => self.interface = reader.string()?.to_owned(),
            (MEMBER, "s") => self.member = reader.string()?.to_owned(),
            (ERROR_NAME, "s") => self.error = reader.string()?.to_owned(),
            (REPLY_SERIAL, "u") => self.reply_to = Some(reader.u32()?),
            (SIGNATURE, "g") => self.signature = reader.signature()?.to_owned(),
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
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer or a signal, as systemd would send it.
    pub(in crate::systemd) fn encode(
        kind: &Kind,
        member: &str,
        (signature, body): (&str, Writer),
    ) -> Vec<u8> {
        let mut message = Writer::default();
        let number = match kind {
            Kind::Reply(_) => REPLY,
            Kind::Error(..) => ERROR,
            Kind::Signal => SIGNAL,
            Kind::Other => CALL,
        };
        let order = if cfg!(target_endian = "little") { b'l' } else { b'B' };
        [order, number, 0, VERSION].into_iter().for_each(|byte| message.u8(byte));
        message.u32(length(body.0.len()));
        message.u32(1);
        message.array(8, |fields| {
            if let Kind::Reply(to) | Kind::Error(to, _) = kind {
                fields.field(REPLY_SERIAL, "u", |value| value.u32(*to));
            }
            if let Kind::Error(_, name) = kind {
                fields.field(ERROR_NAME, "s", |value| value.string(name));
            }
            if *kind == Kind::Signal {
                fields.field(PATH, "o", |value| value.string("/org/freedesktop/systemd1"));
                let interface = "org.freedesktop.systemd1.Manager";
                fields.field(INTERFACE, "s", |value| value.string(interface));
                fields.field(MEMBER, "s", |value| value.string(member));
            }
            fields.field(SIGNATURE, "g", |value| value.signature(signature));
        });
        message.align(8);
        message.0.extend(body.0);
        message.0
    }

    /// The number of a call that was read.
    pub(in crate::systemd) fn serial(bytes: &[u8]) -> u32 {
        u32::from_ne_bytes(bytes[8..12].try_into().unwrap())
    }

    fn call(body: Writer) -> Vec<u8> {
        let (path, interface) = ("/o", "i.f");
        let call = Call { destination: Some("d"), path, interface, member: "M", signature: "st", body };
        call.encode(7)
    }

    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let mut body = Writer::default();
        body.string("a");
        body.u64(1);
        let bytes = call(body);
        let expected: &[u8] = b"l\x01\x02\x01\x10\0\0\0\x07\0\0\0\x46\0\0\0\
            \x01\x01o\0\x02\0\0\0/o\0\0\0\0\0\0\
            \x02\x01s\0\x03\0\0\0i.f\0\0\0\0\0\
            \x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0\
            \x06\x01s\0\x01\0\0\0d\0\0\0\0\0\0\0\
            \x08\x01g\0\x02st\0\0\
            \x01\0\0\0a\0\0\0\x01\0\0\0\0\0\0\0";
        if cfg!(target_endian = "little") {
            assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
        assert_eq!(remaining(bytes[..PREFIX].try_into().unwrap()).unwrap(), bytes.len() - PREFIX);
    }

    #[test]
    fn what_was_written_is_read() {
        let mut body = Writer::default();
        body.u32(3);
        body.string("gone");
        let bytes = encode(&Kind::Signal, "JobRemoved", ("us", body));
        let message = Message::decode(&bytes).unwrap();
        assert_eq!((message.kind.clone(), &*message.member), (Kind::Signal, "JobRemoved"));
        let mut body = message.body();
        assert_eq!((body.u32().unwrap(), body.string().unwrap()), (3, "gone"));
        assert!(body.u32().is_err(), "there is no more");
    }

    #[test]
    fn the_other_byte_order_is_read() {
        let bytes = b"B\x02\0\x01\0\0\0\x04\0\0\0\x01\0\0\0\x0f\x05\x01u\0\0\0\0\x09\x08\x01g\0\x01u\0\0\0\0\0\x2a";
        let message = Message::decode(bytes).unwrap();
        assert_eq!(message.kind, Kind::Reply(9));
        assert_eq!(message.body().u32().unwrap(), 42);
    }

    #[test]
    fn a_length_beyond_reason_is_refused_before_anything_is_made_room_for() {
        let prefix = *b"l\x02\0\x01\xff\xff\xff\x07\x01\0\0\0\0\0\0\0";
        assert!(remaining(prefix).is_err());
        assert!(remaining([b'x'; PREFIX]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, order in "[lB]", kind in 0..6u8) {
            drop(Message::decode(&bytes));
            let mut plausible = vec![order.as_bytes()[0], kind, 0, 1];
            plausible.extend(bytes);
            if let Ok(message) = Message::decode(&plausible) {
                let mut body = message.body();
                drop((body.string().is_ok(), body.signature().is_ok(), body.u32().is_ok()));
            }
        }

        #[test]
        fn a_message_that_is_cut_short_is_an_error(keep in 0..100usize) {
            let mut body = Writer::default();
            body.string("text");
            let whole = encode(&Kind::Error(1, "e.r".to_owned()), "", ("s", body));
            let cut = &whole[..keep.min(whole.len() - 1)];
            prop_assert!(Message::decode(cut).is_err());
        }
    }
}
