//! The exit statuses of `contain`, which scripts rely on.

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
    use super::*;

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
