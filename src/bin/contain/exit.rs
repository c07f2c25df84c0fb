//! The exit statuses of `contain`, which scripts rely on, and what each of them means: the manual pages are
//! made of that, and the documents are held against it.

use containment::{Backend, Error, ErrorKind, Operation};

/// It was done.
pub(crate) const DONE: u8 = 0;
/// A subcommand other than `run` and `exec` failed.
pub(crate) const FAILED: u8 = 1;
/// A subcommand other than `run` and `exec` was not understood.
pub(crate) const USAGE: u8 = 2;

/// There is no group of that name.
pub(crate) const NO_SUCH_GROUP: u8 = 3;
/// A group of that name exists already.
pub(crate) const EXISTS_ALREADY: u8 = 4;
/// A subcommand other than `run` and `exec` was not permitted.
pub(crate) const NOT_PERMITTED: u8 = 5;
/// A subcommand other than `run` asked for what the host or the group's backend does not have.
pub(crate) const UNSUPPORTED: u8 = 6;

/// `run`: an OOM kill ended the group, as SIGKILL ends a program.
pub(crate) const OUT_OF_MEMORY: u8 = 137;
/// `run`: a time limit ended the group, as with GNU `timeout`. `wait`: it was not empty in time.
pub(crate) const TIMED_OUT: u8 = 124;
/// `run`, `exec`: `contain` itself failed. Nothing was run, or containment was lost. Usage errors too.
pub(crate) const RUN_FAILED: u8 = 125;
/// `run`, `exec`: the program was found and cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// `run`, `exec`: the program was not found.
pub(crate) const NOT_FOUND: u8 = 127;

/// What a status means where these subcommands give it.
#[derive(Debug)]
pub(crate) struct Meaning {
    pub(crate) status: u8,
    pub(crate) of: Of,
    pub(crate) text: &'static str,
}

/// The subcommands that give a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Run,
    Exec,
    RunAndExec,
    Wait,
    /// Those that run no program.
    Others,
}

impl Of {
    pub(crate) fn has(self, command: &str) -> bool {
        match self {
            Self::Run => command == "run",
            Self::Exec => command == "exec",
            Self::RunAndExec => ["run", "exec"].contains(&command),
            Self::Wait => command == "wait",
            Self::Others => !["run", "exec"].contains(&command),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Exec => "exec",
            Self::RunAndExec => "run, exec",
            Self::Wait => "wait",
            Self::Others => "the others",
        }
    }
}

/// Every status but PROGRAM's own.
pub(crate) const MEANINGS: [Meaning; 14] = {
    const fn meaning(status: u8, of: Of, text: &'static str) -> Meaning {
        Meaning { status, of, text }
    }
    [
        meaning(TIMED_OUT, Of::Run, "a limit on time or on CPU time ended the group"),
        meaning(
            RUN_FAILED,
            Of::RunAndExec,
            "contain itself failed, in one line on stderr: nothing was run, or containment was lost",
        ),
        meaning(NOT_EXECUTABLE, Of::RunAndExec, "PROGRAM was found and cannot be executed"),
        meaning(NOT_FOUND, Of::RunAndExec, "PROGRAM was not found"),
        meaning(OUT_OF_MEMORY, Of::Run, "memory ran out, and the group was ended for it"),
        meaning(UNSUPPORTED, Of::Exec, "the group is a process group, which takes nobody in"),
        meaning(DONE, Of::Others, "done"),
        meaning(FAILED, Of::Others, "failed, in one line on stderr"),
        meaning(USAGE, Of::Others, "not understood"),
        meaning(NO_SUCH_GROUP, Of::Others, "no such group"),
        meaning(EXISTS_ALREADY, Of::Others, "it exists already"),
        meaning(NOT_PERMITTED, Of::Others, "not permitted"),
        meaning(UNSUPPORTED, Of::Others, "not supported by this backend, or by the kernel"),
        meaning(TIMED_OUT, Of::Wait, "not empty in time"),
    ]
};

/// The status of a `run` that failed in this way.
pub(crate) fn of_failed_run(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::ProgramNotFound => NOT_FOUND,
        ErrorKind::ProgramNotExecutable => NOT_EXECUTABLE,
        _ => RUN_FAILED,
    }
}

/// The status of another subcommand that failed in this way.
pub(crate) fn of_failure(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::PermissionDenied => NOT_PERMITTED,
        ErrorKind::Unsupported => UNSUPPORTED,
        _ => FAILED,
    }
}

/// The status of a subcommand on a group that failed in this way.
pub(crate) fn of_group_failure(error: &Error) -> u8 {
    match (error.kind(), error.operation()) {
        (ErrorKind::NotFound, Operation::Open) | (ErrorKind::Gone, _) => NO_SUCH_GROUP,
        (ErrorKind::AlreadyExists, Operation::Create) => EXISTS_ALREADY,
        _ => of_failure(error),
    }
}

/// The status of an `exec` that failed in this way: that of a `run`, but for a backend that has no `exec`.
pub(crate) fn of_failed_exec(error: &Error) -> u8 {
    let never = error.backend() == Some(Backend::ProcessGroup);
    if never && error.kind() == ErrorKind::Unsupported { UNSUPPORTED } else { of_failed_run(error) }
}

/// What a shell shows for an end as an exit status; kept to the eight bits that there are.
pub(crate) fn of_shell_status(status: i32) -> u8 {
    u8::try_from(status & 0xff).unwrap_or(RUN_FAILED)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn statuses(command: &str) -> BTreeSet<String> {
        let of = MEANINGS.iter().filter(|meaning| meaning.of.has(command));
        of.map(|meaning| meaning.status.to_string()).collect()
    }

    /// The statuses of a table in docs/CLI.md that begins so, where this cell of the row is not empty.
    fn documented(head: &str, cell: usize) -> BTreeSet<String> {
        let document = include_str!("../../../docs/CLI.md").lines();
        let rows = document.skip_while(|line| !line.starts_with(head)).skip(2);
        let cells = rows
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
        // A range, and 128+N, are PROGRAM's own.
        let own = |status: &str| status.parse::<u8>().is_err();
        let given = cells.filter(|cells| !own(cells[1]) && !cells[cell].is_empty());
        given.map(|cells| cells[1].to_owned()).collect()
    }

    #[test]
    fn the_document_has_every_status_and_no_other_one() {
        let run = "| status | `run` | `exec` |";
        assert_eq!(documented(run, 2), statuses("run"));
        assert_eq!(documented(run, 3), statuses("exec"));
        assert_eq!(documented("| status | the other commands |", 2), statuses("wait"));
    }

    #[test]
    fn the_help_of_run_and_the_readme_name_every_status_of_run() {
        let mut command = Cli::command();
        command.build();
        let run = command.find_subcommand_mut("run").unwrap();
        let help = run.render_long_help().to_string();
        let readme = include_str!("../../../README.md");
        let readme = readme.split_once("Exit statuses of `contain run`").unwrap().1;
        let readme = readme.split_once("\n\n").unwrap().0;
        for text in [&*help, readme] {
            let words: BTreeSet<_> = text.split(|c: char| !c.is_ascii_digit()).collect();
            for status in statuses("run") {
                assert!(words.contains(&*status), "{status} in {text}");
            }
        }
    }

    #[test]
    fn a_program_that_cannot_start_has_the_status_that_a_shell_gives() {
        let status = |kind| of_failed_run(&Error::new(kind, Operation::Spawn));
        assert_eq!(status(ErrorKind::ProgramNotFound), 127);
        assert_eq!(status(ErrorKind::ProgramNotExecutable), 126);
        assert_eq!(status(ErrorKind::PermissionDenied), 125);
        assert_eq!(status(ErrorKind::NotFound), 125, "a missing group is no missing program");
    }

    #[test]
    fn a_group_that_is_missing_or_taken_has_a_status_of_its_own() {
        let status = |kind, operation| of_group_failure(&Error::new(kind, operation));
        assert_eq!(status(ErrorKind::NotFound, Operation::Open), NO_SUCH_GROUP);
        assert_eq!(status(ErrorKind::Gone, Operation::Members), NO_SUCH_GROUP);
        assert_eq!(status(ErrorKind::AlreadyExists, Operation::Create), EXISTS_ALREADY);
        assert_eq!(status(ErrorKind::NotFound, Operation::Register), FAILED);
        assert_eq!(status(ErrorKind::PermissionDenied, Operation::Attach), NOT_PERMITTED);
        assert_eq!(status(ErrorKind::Unsupported, Operation::Create), UNSUPPORTED);
    }

    #[test]
    fn exec_has_the_statuses_of_run_but_for_a_backend_without_it() {
        let never = Error::new(ErrorKind::Unsupported, Operation::Spawn);
        assert_eq!(of_failed_exec(&never), 125);
        assert_eq!(of_failed_exec(&never.with_backend(Backend::ProcessGroup)), UNSUPPORTED);
        assert_eq!(of_failed_exec(&Error::new(ErrorKind::NotFound, Operation::Open)), 125);
    }

    #[test]
    fn a_shell_status_fits_into_eight_bits() {
        assert_eq!(of_shell_status(128 + 9), 137);
        assert_eq!(of_shell_status(255), 255);
        assert_eq!(of_shell_status(0), DONE);
    }
}
