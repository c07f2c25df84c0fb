//! What the kernel writes into a ring of perf events: who was forked, renamed by an exec, and has ended.
//!
//! Format: `perf_event_open`(2), "MMAP layout". Bytes in, records out; nothing here panics.

/// The name of a process: 15 bytes and a NUL.
pub(super) type Name = [u8; 16];

/// Something that happened, in nanoseconds since boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) time: u64,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A process was made.
    Forked { pid: i32, parent: i32 },
    /// A thread was made.
    Threaded { pid: i32 },
    /// A process has another name: it executed something, mostly.
    Named { pid: i32, name: Name },
    /// A thread ended; with the last one, the process.
    Ended { pid: i32 },
    /// There was no room for what happened since the record before.
    Lost,
}

/// Every record has it: type, flags, and its own length.
const HEADER: usize = 8;

/// The records of `bytes`, in their order, up to one that is malformed.
pub(super) fn parse(mut bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some(length) = half(bytes, 6).map(usize::from)
        && (HEADER..=bytes.len()).contains(&length)
    {
        let (record, rest) = bytes.split_at(length);
        records.extend(one(record));
        bytes = rest;
    }
    records
}

fn one(record: &[u8]) -> Option<Record> {
    // With `sample_id_all` the time of an event is the last of it, whatever its kind.
    let time = u64::from_ne_bytes(*record.last_chunk()?);
    let pid = word(record, 8)?;
    let first = word(record, 12)?;
    let thread = word(record, 16);
    let what = match word(record, 0)? {
        2 => What::Lost,
        // Of a thread that is not the first one only the thread is called so.
        3 if first == pid => What::Named { pid, name: name(record.get(16..record.len() - 8)?) },
        4 => What::Ended { pid },
        7 if thread == Some(pid) => What::Forked { pid, parent: first },
        7 => What::Threaded { pid },
        _ => return None,
    };
    Some(Record { time, what })
}

fn name(text: &[u8]) -> Name {
    let mut name = Name::default();
    let length = text.iter().position(|byte| *byte == 0).unwrap_or(text.len()).min(15);
    name[..length].copy_from_slice(&text[..length]);
    name
}

fn word(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|word| i32::from_ne_bytes(*word))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|half| u16::from_ne_bytes(*half))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u32, body: &[u8], time: u64) -> Vec<u8> {
        let length = u16::try_from(HEADER + body.len() + 8).unwrap();
        let header = [&kind.to_ne_bytes()[..], &[0, 0], &length.to_ne_bytes()].concat();
        [&header, body, &time.to_ne_bytes()].concat()
    }

    fn words(words: &[i32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn fork(pid: i32, parent: i32, thread: i32) -> Vec<u8> {
        let time = [0; 8];
        record(7, &[&words(&[pid, parent, thread, parent]), &time[..]].concat(), 5)
    }

    #[test]
    fn each_kind_is_read() {
        let comm =
            |pid, thread, text: &[u8]| record(3, &[&words(&[pid, thread]), text].concat(), 6);
        let bytes = [
            fork(7, 3, 7),
            fork(7, 7, 8),
            comm(7, 7, b"sh\0\0\0\0\0\0"),
            comm(7, 8, b"thread\0\0"),
            record(9, &[0; 16], 6),
            record(4, &words(&[7, 3, 7, 3, 0, 0]), 9),
            record(2, &words(&[1, 0, 4, 0]), 9),
        ]
        .concat();
        let mut sh = Name::default();
        sh[..2].copy_from_slice(b"sh");
        let expected = [
            (5, What::Forked { pid: 7, parent: 3 }),
            (5, What::Threaded { pid: 7 }),
            (6, What::Named { pid: 7, name: sh }),
            (9, What::Ended { pid: 7 }),
            (9, What::Lost),
        ];
        assert_eq!(parse(&bytes), expected.map(|(time, what)| Record { time, what }));
    }

    #[test]
    fn what_is_cut_off_ends_the_list() {
        let mut bytes = [fork(7, 3, 7), fork(8, 3, 8)].concat();
        bytes.pop();
        assert_eq!(parse(&bytes).len(), 1);
        assert_eq!(parse(&[0; 64]), [], "a record of no length");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, kind in 0..10u32, body: [u8; 24]) {
            parse(&bytes);
            parse(&record(kind, &body[..usize::from(body[0]) % 24], 1));
        }
    }
}
