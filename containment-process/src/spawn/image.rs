//! Everything that the child needs, made ready before the clone: the child allocates nothing.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use containment_core::{Program, Stream};

use super::identity::Identity;
use super::mounts::Mounts;
use super::seal::Seal;

/// The search path when the program's environment has none, as execvp(3) has it.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
const SHELL: &CStr = c"/bin/sh";

/// A program as the kernel wants it.
#[derive(Debug)]
pub(super) struct Image {
    /// The files to try, in order.
    candidates: Pointers,
    pub(super) directory: Option<CString>,
    /// Which descriptor becomes which number; the child moves sources out of the way in place.
    pub(super) moves: Vec<Move>,
    pub(super) mounts: Option<Mounts>,
    pub(super) identity: Identity,
    pub(super) no_new_privileges: bool,
    pub(super) seal: Option<Seal>,
    arguments: Pointers,
    environment: Pointers,
    /// `/bin/sh`, a place for the file, and the arguments: for a script without `#!` (execvp(3)).
    shell: Vec<*const libc::c_char>,
    /// Descriptors that were opened for the program.
    _opened: Vec<OwnedFd>,
}

/// A descriptor, and the number that it becomes.
pub(super) type Move = (i32, i32);

/// C strings, one behind the other: one piece of memory instead of one each.
#[derive(Debug, Default)]
struct Strings {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Strings {
    /// Adds the string that these parts make together.
    fn push(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        if parts.iter().any(|part| part.contains(&0)) {
            return Err(zero_byte());
        }
        self.starts.push(self.bytes.len());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(0);
        Ok(())
    }
}

/// A null-terminated array of C strings.
#[derive(Debug)]
struct Pointers {
    pointers: Vec<*const libc::c_char>,
    _strings: Strings,
}

impl From<Strings> for Pointers {
    fn from(strings: Strings) -> Self {
        // They stay where they are: none is added any more.
        let each = strings.starts.iter().map(|start| strings.bytes[*start..].as_ptr().cast());
        Self { pointers: each.chain([ptr::null()]).collect(), _strings: strings }
    }
}

impl Image {
    pub(super) fn prepare(program: &Program) -> io::Result<Self> {
        let (mut environment, mut path) = (Strings::default(), None);
        for (name, value) in program.environment(std::env::vars_os()) {
            environment.push(&[name.as_bytes(), b"=", value.as_bytes()])?;
            if path.is_none() && name == "PATH" {
                path = Some(value);
            }
        }
        let mut arguments = Strings::default();
        arguments.push(&[program.name().as_bytes()])?;
        for argument in program.arguments() {
            arguments.push(&[argument.as_bytes()])?;
        }
        let arguments = Pointers::from(arguments);
        let shell = [SHELL.as_ptr(), ptr::null()].into_iter();
        let shell = shell.chain(arguments.pointers.iter().skip(1).copied()).collect();
        let (moves, opened) = moves(program)?;
        let isolation = program.isolation();
        let given = moves.iter().map(|(_, target)| *target);
        Ok(Self {
            candidates: candidates(program.name(), path.as_deref())?.into(),
            directory: program
                .directory()
                .map(|d| c_string(d.as_os_str().as_bytes()))
                .transpose()?,
            mounts: Mounts::prepare(isolation)?,
            identity: Identity::prepare(isolation),
            no_new_privileges: isolation.no_new_privileges || isolation.is_sealed(),
            seal: Seal::prepare(isolation.seal, given),
            moves,
            arguments,
            environment: environment.into(),
            shell,
            _opened: opened,
        })
    }

    /// The file to try at this place, if there are so many.
    pub(super) fn candidate(&self, place: usize) -> Option<*const libc::c_char> {
        self.candidates.pointers.get(place).copied().filter(|file| !file.is_null())
    }

    pub(super) fn argv(&self) -> *const *const libc::c_char {
        self.arguments.pointers.as_ptr()
    }

    pub(super) fn envp(&self) -> *const *const libc::c_char {
        self.environment.pointers.as_ptr()
    }

    /// The arguments that let the shell run `file`.
    pub(super) fn shell_argv(&mut self, file: *const libc::c_char) -> *const *const libc::c_char {
        self.shell[1] = file;
        self.shell.as_ptr()
    }

    pub(super) const fn shell_path() -> &'static CStr {
        SHELL
    }
}

pub(super) fn c_string(bytes: impl Into<Vec<u8>>) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| zero_byte())
}

fn zero_byte() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a zero byte in an argument or path")
}

/// The files that a program's name may stand for: itself when it has a slash, else one in each
/// directory of the search path; an empty entry is the current directory.
fn candidates(name: &OsStr, path: Option<&OsStr>) -> io::Result<Strings> {
    let (mut files, name) = (Strings::default(), name.as_bytes());
    if name.contains(&b'/') || name.is_empty() {
        files.push(&[name])?;
        return Ok(files);
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes();
    for directory in path.split(|byte| *byte == b':') {
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        files.push(&[directory, slash, name])?;
    }
    Ok(files)
}

/// Which descriptor becomes which number, and those that had to be opened for it.
fn moves(program: &Program) -> io::Result<(Vec<Move>, Vec<OwnedFd>)> {
    let (mut moves, mut opened) = (Vec::new(), Vec::new());
    for (target, stream) in (0..).zip(program.streams()) {
        match stream {
            Stream::Inherit => {}
            Stream::Null => {
                let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
                moves.push((null.as_raw_fd(), target));
                opened.push(null.into());
            }
            Stream::Fd(fd) => moves.push((fd.as_raw_fd(), target)),
        }
    }
    let further = program.descriptors().iter().map(|(target, fd)| (fd.as_raw_fd(), *target));
    moves.extend(further);
    Ok((moves, opened))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, path: Option<&str>) -> Vec<String> {
        let files = candidates(OsStr::new(name), path.map(OsStr::new)).unwrap();
        let texts =
            files.starts.iter().map(|start| CStr::from_bytes_until_nul(&files.bytes[*start..]));
        texts.map(|text| text.unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_search_path_is_walked_in_order() {
        assert_eq!(found("make", Some("/a:/b")), ["/a/make", "/b/make"]);
        assert_eq!(found("make", None), ["/bin/make", "/usr/bin/make"]);
        assert_eq!(found("make", Some(":/b")), ["make", "/b/make"]);
        assert_eq!(found("./make", Some("/a")), ["./make"]);
        assert_eq!(found("", Some("/a")), [""]);
    }
}
