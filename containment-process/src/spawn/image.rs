//! Everything that the child needs, made ready before the clone: the child allocates nothing.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
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
    pub(super) candidates: Vec<CString>,
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
    shell: Pointers,
    /// Descriptors that were opened for the program.
    _opened: Vec<OwnedFd>,
}

/// A descriptor, and the number that it becomes.
pub(super) type Move = (i32, i32);

/// A null-terminated array of C strings.
#[derive(Debug)]
struct Pointers {
    pointers: Vec<*const libc::c_char>,
    _strings: Vec<CString>,
}

impl Pointers {
    fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _strings: strings }
    }
}

impl Image {
    pub(super) fn prepare(program: &Program) -> io::Result<Self> {
        let environment = program.environment(std::env::vars_os());
        let path = environment.get(OsStr::new("PATH")).map(OsString::as_os_str);
        let candidates = candidates(program.name(), path)?;
        let entries = environment.into_iter().map(|(name, value)| {
            let mut entry = name.into_vec();
            entry.push(b'=');
            entry.extend(value.into_vec());
            c_string(entry)
        });
        let environment = Pointers::new(entries.collect::<io::Result<_>>()?);
        let arguments: Vec<_> = std::iter::once(program.name())
            .chain(program.arguments().iter().map(OsString::as_os_str))
            .map(|argument| c_string(argument.as_bytes()))
            .collect::<io::Result<_>>()?;
        let shell = [SHELL.to_owned(), SHELL.to_owned()].into_iter();
        let shell = Pointers::new(shell.chain(arguments.iter().skip(1).cloned()).collect());
        let (moves, opened) = moves(program)?;
        let isolation = program.isolation();
        let given = moves.iter().map(|(_, target)| *target);
        Ok(Self {
            candidates,
            directory: program
                .directory()
                .map(|d| c_string(d.as_os_str().as_bytes()))
                .transpose()?,
            mounts: Mounts::prepare(isolation)?,
            identity: Identity::prepare(isolation),
            no_new_privileges: isolation.no_new_privileges || isolation.is_sealed(),
            seal: Seal::prepare(isolation.seal, given),
            moves,
            arguments: Pointers::new(arguments),
            environment,
            shell,
            _opened: opened,
        })
    }

    pub(super) fn argv(&self) -> *const *const libc::c_char {
        self.arguments.pointers.as_ptr()
    }

    pub(super) fn envp(&self) -> *const *const libc::c_char {
        self.environment.pointers.as_ptr()
    }

    /// The arguments that let the shell run `file`.
    pub(super) fn shell_argv(&mut self, file: *const libc::c_char) -> *const *const libc::c_char {
        self.shell.pointers[1] = file;
        self.shell.pointers.as_ptr()
    }

    pub(super) const fn shell_path() -> &'static CStr {
        SHELL
    }
}

pub(super) fn c_string(bytes: impl Into<Vec<u8>>) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, "a zero byte in an argument or path")
    })
}

/// The files that a program's name may stand for: itself when it has a slash, else one in each
/// directory of the search path; an empty entry is the current directory.
fn candidates(name: &OsStr, path: Option<&OsStr>) -> io::Result<Vec<CString>> {
    let bytes = name.as_bytes();
    if bytes.contains(&b'/') || bytes.is_empty() {
        return Ok(vec![c_string(bytes)?]);
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes();
    let directories = path.split(|byte| *byte == b':');
    directories
        .map(|directory| {
            let mut file = directory.to_vec();
            if !file.is_empty() {
                file.push(b'/');
            }
            file.extend_from_slice(bytes);
            c_string(file)
        })
        .collect()
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
        files.into_iter().map(|file| file.into_string().unwrap()).collect()
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
