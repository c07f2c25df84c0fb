//! Group names: parsed once, then trusted. A name can climb out of nothing and clash with no kernel file.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// The name of a group below its parent: one component, or several as `a/b/c`.
///
/// ```
/// use containment_core::{GroupName, InvalidName};
/// let name: GroupName = "ci/build-42".parse()?;
/// assert_eq!(name.components().collect::<Vec<_>>(), ["ci", "build-42"]);
/// assert_eq!(name.split_last(), (Some("ci"), "build-42"));
/// assert_eq!(name.join(&"step-1".parse()?)?.as_str(), "ci/build-42/step-1");
/// assert_ne!(GroupName::scratch(), GroupName::scratch());
/// assert_eq!("../x".parse::<GroupName>(), Err(InvalidName::Climbs));
/// let reserved = "memory.max".parse::<GroupName>().unwrap_err();
/// assert_eq!(reserved.to_string(), "\"memory.max\" is reserved for files of the kernel");
/// # Ok::<(), containment_core::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(String);

/// The longest component, `NAME_MAX`.
const COMPONENT_MAX: usize = 255;
/// The longest name, so that `/proc/PID/cgroup` can always show it (`PATH_MAX` less what is above us).
const NAME_MAX: usize = 2048;

/// Files of cgroup v1 that carry no controller's prefix.
const V1_FILES: [&str; 3] = ["tasks", "notify_on_release", "release_agent"];

/// A directory that begins with a controller's name and a dot could clash with an interface file
/// (kernel: Documentation/admin-guide/cgroup-v2.rst, "Avoid Name Collisions").
const CONTROLLERS: [&str; 18] = [
    "blkio",
    "cgroup",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "dmem",
    "freezer",
    "hugetlb",
    "io",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

impl GroupName {
    /// A name of this process's own, another one at each call, for a group that lives for a moment.
    pub fn scratch() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Self(format!("contain-probe-{}-{serial}", std::process::id()))
    }

    /// The name as text, components joined by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, outermost first; at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component, and the components above it joined by `/`, if any.
    pub fn split_last(&self) -> (Option<&str>, &str) {
        match self.0.rsplit_once('/') {
            Some((above, last)) => (Some(above), last),
            None => (None, &self.0),
        }
    }

    /// The name of the group `inner` below this one.
    ///
    /// # Errors
    /// When the joined name is too long.
    pub fn join(&self, inner: &Self) -> Result<Self, InvalidName> {
        format!("{self}/{inner}").parse()
    }
}

impl FromStr for GroupName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.len() > NAME_MAX {
            return Err(InvalidName::TooLong(NAME_MAX));
        }
        text.split('/').try_for_each(check_component)?;
        Ok(Self(text.to_owned()))
    }
}

fn check_component(name: &str) -> Result<(), InvalidName> {
    match name {
        "" => Err(InvalidName::EmptyComponent),
        "." | ".." => Err(InvalidName::Climbs),
        _ if name.len() > COMPONENT_MAX => Err(InvalidName::TooLong(COMPONENT_MAX)),
        _ if name.chars().any(char::is_control) => Err(InvalidName::ControlCharacter),
        _ if is_reserved(name) => Err(InvalidName::Reserved(name.to_owned())),
        _ => Ok(()),
    }
}

fn is_reserved(name: &str) -> bool {
    let controller = name.split_once('.').map(|(prefix, _)| prefix);
    V1_FILES.contains(&name) || controller.is_some_and(|c| CONTROLLERS.contains(&c))
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Why a text is no group name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Empty, or a leading, trailing or doubled `/`.
    #[error("a group name is relative and has no empty component")]
    EmptyComponent,
    /// `.` or `..`.
    #[error("a group name has no component \".\" or \"..\"")]
    Climbs,
    /// Longer than this many bytes.
    #[error("a group name or one of its components is longer than {0} bytes")]
    TooLong(usize),
    /// A newline or another control character.
    #[error("a group name has no control characters")]
    ControlCharacter,
    /// The name of a kernel file, or one that could become it.
    #[error("{0:?} is reserved for files of the kernel")]
    Reserved(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_climb_or_clash_are_refused() {
        let long = "x".repeat(300);
        let bad = [
            "",
            "/",
            "/x",
            "x/",
            "a//b",
            ".",
            "..",
            "../x",
            "a/../../b",
            "a/./b",
            "a\nb",
            "a\0b",
            "cgroup.procs",
            "tasks",
            "memory.max",
            "a/cpu.x",
            &long,
        ];
        for name in bad {
            assert!(name.parse::<GroupName>().is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn ordinary_names_are_taken_as_they_are() {
        for name in ["build-42", "a/b/c", "x.service", "ünïcode", "gcc-4.2", "a b", "memory"] {
            assert_eq!(name.parse::<GroupName>().unwrap().as_str(), name);
        }
    }
}
