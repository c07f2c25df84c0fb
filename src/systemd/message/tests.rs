//! What the wire format looks like, and what is made of bytes that are none.

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
    for byte in [order, number, 0, VERSION] {
        message.u8(byte);
    }
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
    let expected: &[u8] = b"l\x01\x02\x01\x10\0\0\0\x07\0\0\0\x48\0\0\0\
        \x01\x01o\0\x02\0\0\0/o\0\0\0\0\0\0\
        \x02\x01s\0\x03\0\0\0i.f\0\0\0\0\0\
        \x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0\
        \x06\x01s\0\x01\0\0\0d\0\0\0\0\0\0\0\
        \x08\x01g\0\x02st\0\
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
            // Three values are more than four bytes.
            let all = body.string().and(body.signature()).and(body.u32());
            prop_assert!(all.is_err() || plausible.len() > PREFIX + 4);
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
