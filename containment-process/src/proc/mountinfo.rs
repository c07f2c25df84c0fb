//! `/proc/self/mountinfo`: where the cgroup hierarchies are mounted.
//!
//! Entries borrow from the text and decode a field only when it is asked for: a container host has
//! hundreds of mounts, of which a handful matter.
//! Format: kernel, Documentation/filesystems/proc.rst, section 3.5.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::text::{self, number};
use crate::malformed::Malformed;

/// The text for the calling process.
pub fn read() -> io::Result<Vec<u8>> {
    const PATH: &str = "/proc/self/mountinfo";
    let text = text::read_file(PATH)?;
    check(&text).map_err(|malformed| malformed.of_file(PATH))?;
    Ok(text)
}

/// Whether every line is understood; the reading answers no text of which that is not so.
pub fn check(text: &[u8]) -> Result<(), Malformed> {
    text::check(text, |line| Mount::parse(line).is_some())
}

/// The entries of a text, in its order: of two on one mount point, the later one is on top.
/// Malformed lines are skipped.
pub fn mounts(text: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    text::lines(text).filter_map(Mount::parse)
}

/// One mount.
///
/// ```
/// use containment_process::proc::mountinfo::{Mount, check, mounts};
/// let text = b"42 30 0:39 / /sys/fs/cgroup/my\\040cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n";
/// assert!(check(text).is_ok());
/// let mount = mounts(text).next().unwrap();
/// assert_eq!((mount.id, mount.parent, mount.device), (42, 30, (0, 39)));
/// assert_eq!(mount.mount_point().to_str(), Some("/sys/fs/cgroup/my cpu"));
/// assert!(mount.is_type("cgroup") && mount.fs_type() == "cgroup" && mount.root().is_absolute());
/// assert!(mount.has_super_option("cpuacct") && mount.super_option("name").is_none());
/// assert_eq!(Mount::parse(b"42 30"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Its id.
    pub id: u32,
    /// The id of the mount that it is mounted on.
    pub parent: u32,
    /// Major and minor number of the device: `st_dev` of what is in it.
    pub device: (u32, u32),
    root: &'a [u8],
    point: &'a [u8],
    fs_type: &'a [u8],
    super_options: &'a [u8],
}

impl<'a> Mount<'a> {
    /// Reads one line, without its newline; `None` when it is malformed.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = number(fields.next()?)?;
        let parent = number(fields.next()?)?;
        let device = parse_device(fields.next()?)?;
        let (root, point, _options) = (fields.next()?, fields.next()?, fields.next()?);
        // Optional fields, any number of them, end at a lone hyphen.
        fields.find(|field| *field == b"-")?;
        let fs_type = fields.next()?;
        // The source may be the empty string: two spaces follow each other then.
        let (_source, super_options) = (fields.next()?, fields.next()?);
        Some(Self { id, parent, device, root, point, fs_type, super_options })
    }

    /// Which directory of the file system is mounted. On cgroupfs it is relative to the reader's
    /// cgroup namespace, so it may begin with `/..`.
    pub fn root(&self) -> Cow<'a, Path> {
        decode_path(self.root)
    }

    /// Where it is mounted, seen from the reader's root directory.
    pub fn mount_point(&self) -> Cow<'a, Path> {
        decode_path(self.point)
    }

    /// Whether it is of this file-system type, as `cgroup2`.
    pub fn is_type(&self, fs_type: &str) -> bool {
        *unescape(self.fs_type) == *fs_type.as_bytes()
    }

    /// Its file-system type.
    pub fn fs_type(&self) -> Cow<'a, str> {
        match unescape(self.fs_type) {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Whether the file system has this option, as `cpuset` or `name=systemd` on cgroup version 1.
    pub fn has_super_option(&self, option: &str) -> bool {
        let mut options = self.super_options.split(|byte| *byte == b',');
        options.any(|had| *unescape(had) == *option.as_bytes())
    }

    /// The value of a file-system option, as `systemd` of `name=systemd` on cgroup version 1.
    pub fn super_option(&self, option: &str) -> Option<Cow<'a, [u8]>> {
        self.super_options.split(|byte| *byte == b',').find_map(|text| {
            let value = text.strip_prefix(option.as_bytes())?.strip_prefix(b"=")?;
            Some(unescape(value))
        })
    }
}

fn parse_device(field: &[u8]) -> Option<(u32, u32)> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    Some((number(&field[..colon])?, number(&field[colon + 1..])?))
}

fn decode_path(field: &[u8]) -> Cow<'_, Path> {
    match unescape(field) {
        Cow::Borrowed(bytes) => Cow::Borrowed(Path::new(OsStr::from_bytes(bytes))),
        Cow::Owned(bytes) => Cow::Owned(PathBuf::from(OsString::from_vec(bytes))),
    }
}

/// Undoes the kernel's `mangle_path`, which writes a blank as `\040`. A backslash that begins no
/// such sequence stands for itself.
fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if !field.contains(&b'\\') {
        return Cow::Borrowed(field);
    }
    let mut decoded = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let octal = if *first == b'\\' { octal_byte(after) } else { None };
        decoded.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    Cow::Owned(decoded)
}

fn octal_byte(text: &[u8]) -> Option<u8> {
    match text {
        [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
            Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A hybrid host with co-mounted controllers, a named hierarchy and a blank in a mount point.
    const HYBRID: &[u8] = b"\
25 30 0:23 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
32 25 0:27 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
33 32 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
34 32 0:29 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd
37 32 0:32 / /sys/fs/cgroup/cpu,cpuacct rw shared:14 master:2 - cgroup cgroup rw,cpu,cpuacct
38 32 0:33 / /mnt/my\\040cgroups\\134x rw - cgroup  rw,freezer
";

    /// A container with its own cgroup namespace whose mount was made outside of it.
    const CONTAINER: &[u8] =
        b"1551 1550 0:26 /../.. /sys/fs/cgroup ro,nosuid,nodev - cgroup2 cgroup rw\n";

    #[test]
    fn a_hybrid_host_is_read() {
        let mounts: Vec<_> = mounts(HYBRID).collect();
        assert_eq!(mounts.len(), 6);
        let unified = mounts.iter().find(|mount| mount.is_type("cgroup2")).unwrap();
        assert_eq!((unified.id, unified.parent, unified.device), (33, 32, (0, 28)));
        assert_eq!(&*unified.mount_point(), Path::new("/sys/fs/cgroup/unified"));
        let cpu = mounts.iter().find(|mount| mount.has_super_option("cpu")).unwrap();
        assert!(cpu.has_super_option("cpuacct") && !cpu.has_super_option("cpus"));
        assert_eq!(&*cpu.mount_point(), Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(mounts.iter().filter(|m| m.has_super_option("name=systemd")).count(), 1);
        let names: Vec<_> = mounts.iter().filter_map(|m| m.super_option("name")).collect();
        assert_eq!(names, [&b"systemd"[..]]);
    }

    #[test]
    fn blanks_are_decoded_and_an_empty_source_is_a_field() {
        let freezer = mounts(HYBRID).find(|mount| mount.has_super_option("freezer")).unwrap();
        assert_eq!(&*freezer.mount_point(), Path::new("/mnt/my cgroups\\x"));
        assert!(freezer.is_type("cgroup"));
    }

    #[test]
    fn a_container_shows_a_root_above_its_namespace() {
        let mount = mounts(CONTAINER).next().unwrap();
        assert_eq!(&*mount.root(), Path::new("/../.."));
    }

    #[test]
    fn malformed_lines_are_skipped() {
        let text =
            b"\n1 2 3\nx 1 0:1 / / rw - a b c\n1 1 01 / / rw - a b c\n1 1 0:1 / / rw a b c\n";
        assert_eq!(mounts(text).count(), 0);
        assert_eq!(mounts(&[text, CONTAINER].concat()).count(), 1);
    }

    #[test]
    fn a_line_that_is_not_understood_is_named() {
        assert_eq!(check(HYBRID), Ok(()));
        let text = [HYBRID, b"1 2 3\n"].concat();
        assert_eq!(check(&text), Err(Malformed { line: 7 }));
        assert_eq!(check(CONTAINER.trim_ascii_end()), Err(Malformed { line: 1 }));
    }

    #[test]
    fn this_host_has_a_mount_on_slash() {
        let text = read().unwrap();
        assert!(mounts(&text).any(|mount| *mount.mount_point() == *Path::new("/")));
    }

    fn escape(bytes: &[u8]) -> Vec<u8> {
        let escape = |byte: &u8| match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}").into_bytes(),
            _ => vec![*byte],
        };
        bytes.iter().flat_map(escape).collect()
    }

    proptest! {
        #[test]
        fn no_text_panics(text: Vec<u8>) {
            for mount in mounts(&text) {
                mount.root();
                mount.mount_point();
            }
        }

        #[test]
        fn no_line_of_plausible_characters_panics(text in r"[0-9 :/\\\-a,\n]{0,200}") {
            for mount in mounts(text.as_bytes()) {
                mount.root();
                mount.has_super_option("a");
            }
        }

        #[test]
        fn a_path_of_any_bytes_round_trips(id: u32, device: (u32, u32), path: Vec<u8>) {
            let mut line = format!("{id} 1 {}:{} / ", device.0, device.1).into_bytes();
            line.extend(escape(&path));
            line.extend(b" rw opt:1 opt - cgroup none rw,pids");
            let mount = Mount::parse(&line).unwrap();
            prop_assert_eq!((mount.id, mount.device), (id, device));
            let decoded = mount.mount_point();
            prop_assert_eq!(decoded.as_os_str().as_bytes(), &path[..]);
            prop_assert!(mount.has_super_option("pids"));
        }
    }
}
