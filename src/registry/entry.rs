//! What is on record of a group: a claim, never an authority. Whoever acts on it compares it with what
//! the group itself carries.

use std::path::PathBuf;

use containment_core::{
    Backend, Error, ErrorKind, GroupId, GroupName, Identity, Operation, Pid, Result,
};
use serde::de::{self, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Process;
use crate::drivers::ORDER;

/// The version of the format that this program writes, and the only one that it reads.
const VERSION: u32 = 1;

/// A group on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name below its parent group.
    #[serde(with = "name")]
    pub name: GroupName,
    /// The backend that holds it.
    #[serde(with = "backend")]
    pub backend: Backend,
    /// What the kernel knows it by; none until it is made.
    #[serde(default, with = "identity")]
    pub identity: Option<Identity>,
    /// The mark that it carries itself.
    pub mark: String,
    /// The process that ends it; none for a group that stays until it is removed.
    pub owner: Option<Process>,
    /// The boot in which it was made.
    pub boot: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// `--parent`, if that was given.
    pub parent: Option<PathBuf>,
    /// The groups below which it was made: its maker's `/proc/self/cgroup`.
    pub home: String,
    /// Its program, where no group holds it.
    pub program: Option<Process>,
}

/// A group's identity in full, as a helper is told it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WrittenId {
    #[serde(with = "backend")]
    backend: Backend,
    #[serde(with = "name")]
    name: GroupName,
    identity: WrittenIdentity,
}

impl WrittenId {
    /// None for an identity that cannot be written.
    pub(crate) fn new(id: &GroupId) -> Option<Self> {
        let identity = WrittenIdentity::new(id.identity)?;
        Some(Self { backend: id.backend, name: id.name.clone(), identity })
    }

    /// None for what was not written by [`new`](Self::new).
    pub(crate) fn read(self) -> Option<GroupId> {
        let Self { backend, name, identity } = self;
        Some(GroupId { backend, name, identity: identity.read()? })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenIdentity {
    Cgroup(u64),
    Process(Process),
    Serial(u64),
}

/// What a file holds.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    entry: &'a Entry,
}

/// What every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Entry {
    /// Its identity as a group of its backend; none until it is made.
    pub fn id(&self) -> Option<GroupId> {
        let identity = self.identity?;
        Some(GroupId { backend: self.backend, name: self.name.clone(), identity })
    }

    pub(super) fn to_text(&self) -> Result<Vec<u8>> {
        let written = Written { version: VERSION, entry: self };
        serde_json::to_vec_pretty(&written).map_err(|error| malformed(&error.to_string()))
    }

    /// How its text tells its mark, which no other one does.
    pub(super) fn told_mark(&self) -> String {
        format!("\"mark\": \"{}\"", self.mark)
    }

    /// What was written last: a file holds an entry time after time, as more of it became known.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for what is no entry, and for one of another version.
    pub(super) fn from_text(text: &[u8]) -> Result<Self> {
        let text = last_whole(text);
        let versioned: Versioned =
            serde_json::from_slice(text).map_err(|error| malformed(&error.to_string()))?;
        if versioned.version != VERSION {
            let why =
                format!("it has version {}, and this program knows {VERSION}", versioned.version);
            return Err(malformed(&why).advise("use the version of contain that wrote it"));
        }
        serde_json::from_slice(text).map_err(|error| malformed(&error.to_string()))
    }
}

/// The last of the JSON documents in a text that is whole: its writer may have been killed, or be at it.
fn last_whole(text: &[u8]) -> &[u8] {
    let mut documents = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    let (mut last, mut end) = (text, 0);
    while let Some(Ok(_)) = documents.next() {
        last = &text[end..documents.byte_offset()];
        end = documents.byte_offset();
    }
    last
}

impl WrittenIdentity {
    fn new(identity: Identity) -> Option<Self> {
        Some(match identity {
            Identity::Cgroup(inode) => Self::Cgroup(inode),
            Identity::Process { pid, started } => {
                Self::Process(Process { pid: pid.as_raw(), started })
            }
            Identity::Serial(number) => Self::Serial(number),
            _ => return None,
        })
    }

    fn read(self) -> Option<Identity> {
        Some(match self {
            Self::Cgroup(inode) => Identity::Cgroup(inode),
            Self::Process(Process { pid, started }) => {
                Identity::Process { pid: Pid::new(pid)?, started }
            }
            Self::Serial(number) => Identity::Serial(number),
        })
    }
}

/// A group's name as a text.
mod name {
    use super::{Deserialize, Deserializer, GroupName, Serializer, de};

    pub(super) fn serialize<S: Serializer>(name: &GroupName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<GroupName, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// A backend by its name; the fake is on no record.
mod backend {
    use super::{Backend, Deserialize, Deserializer, ORDER, Serializer, de};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
    pub(super) fn serialize<S: Serializer>(backend: &Backend, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(backend.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Backend, D::Error> {
        let name = String::deserialize(from)?;
        let known = ORDER.into_iter().find(|backend| backend.name() == name);
        known.ok_or_else(|| de::Error::custom(format_args!("{name} is no backend")))
    }
}

/// What the kernel knows a group by, where it is known and can be written.
mod identity {
    use super::{Deserialize, Deserializer, Identity, Serialize, Serializer, WrittenIdentity, de};

    #[expect(clippy::ref_option, reason = "serde hands it over so")]
    pub(super) fn serialize<S: Serializer>(
        identity: &Option<Identity>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        identity.and_then(WrittenIdentity::new).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Identity>, D::Error> {
        let Some(written) = Option::<WrittenIdentity>::deserialize(from)? else { return Ok(None) };
        written.read().map(Some).ok_or_else(|| de::Error::custom("there is no such pid"))
    }
}

fn malformed(why: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Register)
        .because(format!("this is no entry of the registry: {why}"))
        .advise("look what wrote it, and remove it by hand")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            name: "ci/build".parse().unwrap(),
            backend: Backend::Hybrid,
            identity: Some(Identity::Cgroup(77)),
            mark: "5.6.7".to_owned(),
            owner: Some(Process { pid: 5, started: 6 }),
            boot: "b".to_owned(),
            created: 9,
            parent: Some("/jobs".into()),
            home: "0::/\n".to_owned(),
            program: None,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for identity in [
            None,
            Some(Identity::Cgroup(1)),
            Some(Identity::Process { pid: Pid::new(3).unwrap(), started: 4 }),
            Some(Identity::Serial(2)),
        ] {
            let entry = Entry { identity, ..entry() };
            assert_eq!(Entry::from_text(&entry.to_text().unwrap()).unwrap(), entry);
        }
    }

    /// A document of version 1 as it is on record: whoever changes what is written changes the version.
    const FIRST: &str = r#"{
  "version": 1,
  "name": "ci/build",
  "backend": "hybrid",
  "identity": {
    "cgroup": 77
  },
  "mark": "5.6.7",
  "owner": {
    "pid": 5,
    "started": 6
  },
  "boot": "b",
  "created": 9,
  "parent": "/jobs",
  "home": "0::/\n",
  "program": null
}"#;

    #[test]
    fn the_first_version_is_written_and_read_as_it_always_was() {
        assert_eq!(String::from_utf8(entry().to_text().unwrap()).unwrap(), FIRST);
        assert_eq!(Entry::from_text(FIRST.as_bytes()).unwrap(), entry());
    }

    #[test]
    fn an_entry_without_an_identity_has_none_yet() {
        let without = FIRST.replace("  \"identity\": {\n    \"cgroup\": 77\n  },\n", "");
        assert!(!without.contains("identity"), "{without}");
        let unknown = Entry { identity: None, ..entry() };
        assert_eq!(Entry::from_text(without.as_bytes()).unwrap(), unknown);
    }

    #[test]
    fn what_was_written_last_counts_once_it_is_whole() {
        let known = Entry { identity: Some(Identity::Cgroup(5)), ..entry() };
        let unknown = Entry { identity: None, ..entry() };
        let (first, second) = (unknown.to_text().unwrap(), known.to_text().unwrap());
        for written in 0..=second.len() {
            let text = [&first[..], &second[..written]].concat();
            let expected = if written == second.len() { &known } else { &unknown };
            assert_eq!(Entry::from_text(&text).unwrap(), *expected, "{written} bytes of it");
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let text = String::from_utf8(entry().to_text().unwrap()).unwrap();
        let other = text.replace("\"version\": 1", "\"version\": 2");
        let error = Entry::from_text(other.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
        for (from, to) in
            [("ci/build", "../x"), ("hybrid", "magic"), ("\"pid\": 5", "\"pid\": \"5\"")]
        {
            let broken = text.replace(from, to);
            assert_ne!(broken, text);
            assert!(Entry::from_text(broken.as_bytes()).is_err(), "{broken}");
        }
        for text in ["", "{", "[]", "{\"version\":1}", "null"] {
            let error = Entry::from_text(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
