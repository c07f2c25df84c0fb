//! What to run, out of the options: streams, environment, process group, and the group's default name.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use containment::{
    Backend, Error, ErrorKind, Group, GroupName, Operation, ProcessGroup, Program, Result,
    SignalSet, Stream, with_group_variable,
};

use crate::cli::Run;

/// A program whose files are open.
#[derive(Debug)]
pub(super) struct Prepared(Program);

impl Prepared {
    /// Looks up the user, and opens the redirections.
    pub(super) fn new(options: &Run) -> Result<Self> {
        let mut program = named(&options.program.words)?;
        if options.setting.env_clear {
            program = program.env_clear();
        }
        for (name, value) in &options.setting.env {
            program = program.env(name, value);
        }
        if let Some(directory) = &options.setting.chdir {
            program = program.current_dir(directory);
        }
        let program = options.isolation.apply(program)?;
        redirect(program, options).map(Self)
    }

    /// What to run in `group`, with the signal mask that we were started with.
    pub(super) fn in_group(&self, group: &Group, mask: SignalSet) -> Program {
        with_group_variable(self.0.clone(), group.id())
            .signal_mask(mask)
            .process_group(process_group(group.id().backend))
    }
}

/// A program by its words.
pub(crate) fn named(words: &[OsString]) -> Result<Program> {
    match words.split_first() {
        Some((name, arguments)) if !name.is_empty() => {
            Ok(Program::new(name).args(arguments.iter().cloned()))
        }
        _ => Err(Error::new(ErrorKind::InvalidInput, Operation::Spawn)
            .because("the program has no name")
            .advise("name it behind the options")),
    }
}

/// On a terminal the program stays in our process group, so that the terminal treats the whole job as
/// it would without us; a group of its own plus tcsetpgrp would stop the rest of a pipeline.
fn process_group(backend: Backend) -> ProcessGroup {
    if backend == Backend::ProcessGroup && !has_terminal() {
        ProcessGroup::Lead
    } else {
        ProcessGroup::Inherit
    }
}

/// Whether we have a controlling terminal; without one opening it is ENXIO (tty(4)).
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

fn redirect(mut program: Program, options: &Run) -> Result<Program> {
    if let Some(path) = &options.setting.stdin {
        program = program.stdin(Stream::Fd(open(path, OpenOptions::new().read(true))?));
    }
    let stdout = options.setting.stdout.as_deref().map(create).transpose()?;
    let stderr = match &options.setting.stderr {
        // One description and one offset, so that the streams do not overwrite each other.
        same if *same == options.setting.stdout => stdout.clone(),
        other => other.as_deref().map(create).transpose()?,
    };
    if let Some(file) = stdout {
        program = program.stdout(Stream::Fd(file));
    }
    if let Some(file) = stderr {
        program = program.stderr(Stream::Fd(file));
    }
    Ok(program)
}

fn create(path: &Path) -> Result<Arc<OwnedFd>> {
    open(path, OpenOptions::new().write(true).create(true).truncate(true))
}

fn open(path: &Path, how: &OpenOptions) -> Result<Arc<OwnedFd>> {
    let file = how.open(path).map_err(|error| {
        // Never "program not found", whatever the errno.
        Error::from_io(Operation::Spawn, &error)
            .because("cannot open a redirection")
            .with_path(path)
    })?;
    Ok(Arc::new(file.into()))
}

/// The name that was given, or one made up.
pub(super) fn group_name(options: &Run) -> Result<GroupName> {
    match &options.group.name {
        Some(name) => Ok(name.clone()),
        None => {
            default_name(options.program.words.first().map_or(OsStr::new(""), OsString::as_os_str))
        }
    }
}

/// A name out of the program's: its base name, our pid, and a part that is unlike any other run's.
fn default_name(program: &OsStr) -> Result<GroupName> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unique = format!("{}-{:x}", std::process::id(), now.as_nanos() & 0xffff_ffff);
    named_after(program, &unique).ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, Operation::Create)
            .because("no group name can be made out of the program's")
            .advise("give one with --name")
    })
}

fn named_after(program: &OsStr, unique: &str) -> Option<GroupName> {
    let base = Path::new(program).file_name().unwrap_or(OsStr::new("run")).to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.+".contains(c) { c } else { '_' };
    let base: String = base.chars().map(plain).take(100).collect();
    let name = format!("{base}-{unique}");
    // A dot can make it the kernel's: "cpu.sh-1" could become an interface file.
    name.parse().ok().or_else(|| name.replace('.', "_").parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_name_is_valid_whatever_the_program_is_called() {
        let cases = [
            ("/usr/bin/make", "make-7-a"),
            ("python3.11", "python3.11-7-a"),
            ("cpu.sh", "cpu_sh-7-a"),
            ("/", "run-7-a"),
            ("", "run-7-a"),
            ("..", "run-7-a"),
            ("a\nb c", "a_b_c-7-a"),
            ("ü", "_-7-a"),
        ];
        for (program, name) in cases {
            let made = named_after(OsStr::new(program), "7-a").expect(program);
            assert_eq!(made.as_str(), name);
        }
        let long = "x".repeat(4000);
        assert!(named_after(OsStr::new(&long), "7-a").is_some());
    }

    #[test]
    fn a_default_name_tells_the_program_and_the_run() {
        let name = default_name(OsStr::new("/bin/true")).unwrap();
        let expected = format!("true-{}-", std::process::id());
        assert!(name.as_str().starts_with(&expected), "{name}");
    }
}
