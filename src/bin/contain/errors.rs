//! Errors as a person sees them: one line that says what failed, on which object, why, and what to do.

use std::io::{self, Write as _};

use anstyle::{AnsiColor, Style};
use containment::{Error, ErrorKind, Operation};

use crate::exit;

/// Writes `error` to stderr.
pub(crate) fn print(error: &Error) {
    print_line(&line(error));
}

/// Writes why a subcommand other than `run` failed to stderr; gives the exit status.
pub(crate) fn failed(error: &Error) -> u8 {
    print(error);
    exit::of_failure(error)
}

/// Writes why stdout did not take `what` to stderr; gives the exit status.
pub(crate) fn not_printed(what: &str, error: &io::Error) -> u8 {
    print_line(&format!("failed to print {what}: {}; check stdout", reason(error)));
    exit::FAILED
}

/// Writes a message of our own to stderr, as one line.
pub(crate) fn print_line(message: &str) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(anstream::stderr(), "{style}contain{style:#}: {}", one_line(message));
}

/// The message for `error`, without the leading name of the program.
pub(crate) fn line(error: &Error) -> String {
    let usual = usual_remedy(error).filter(|_| error.remedy().is_none());
    usual.map_or_else(|| format!("{error:#}"), |remedy| format!("{error:#}; {remedy}"))
}

/// Why a call of the standard library failed, in the words that an [`Error`] has for it.
pub(crate) fn reason(error: &io::Error) -> String {
    Error::from_io(Operation::Open, error).reason().to_string()
}

/// What to do about an error that brings no remedy of its own.
fn usual_remedy(error: &Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::ProgramNotFound if is_there(error) => {
            Some("the file is there, its interpreter is not: check its first line")
        }
        ErrorKind::ProgramNotFound => Some("check the path, or PATH"),
        ErrorKind::ProgramNotExecutable => Some("check its mode, its format and its interpreter"),
        ErrorKind::AlreadyExists => Some("choose another name"),
        ErrorKind::NotFound | ErrorKind::Gone
            if error.operation() == Operation::Open && error.group().is_some() =>
        {
            Some(
                "it is on record alone: contain rm strikes it off, contain gc if its owner is dead",
            )
        }
        ErrorKind::Gone => {
            Some("somebody removed the group meanwhile: make it again, or take another name")
        }
        ErrorKind::InvalidInput if error.path().is_some() => Some("check the path"),
        ErrorKind::InvalidInput => Some("see `contain run --help`"),
        ErrorKind::Unsupported => Some("take another backend with --backend"),
        _ if matches!(error.operation(), Operation::Probe | Operation::Select) => {
            Some("see `contain doctor`")
        }
        ErrorKind::PermissionDenied => Some("see `contain doctor` for what this user can use"),
        _ if error.path().is_some() => Some("check the path"),
        _ => None,
    }
}

/// Whether what was not found is a file that is there: PATH is not looked through for one with a slash.
fn is_there(error: &Error) -> bool {
    error.path().is_some_and(|path| path.components().count() > 1 && path.is_file())
}

/// File names may hold newlines and escapes; a message is one line and leaves the terminal alone.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for character in message.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_on_which_object_why_and_what_to_do() {
        let error = Error::from_errno(Operation::Spawn, 2)
            .with_kind(ErrorKind::ProgramNotFound)
            .with_group("x")
            .with_path("/no/such");
        assert_eq!(
            line(&error),
            "failed to start a program in group x: No such file or directory (ENOENT): /no/such; \
             check the path, or PATH"
        );
    }

    #[test]
    fn a_remedy_of_the_error_itself_goes_before_the_usual_one() {
        let error = Error::new(ErrorKind::Unusable, Operation::Probe).advise("mount it");
        assert!(line(&error).ends_with("; mount it"));
        let error = Error::new(ErrorKind::Unusable, Operation::Probe);
        assert!(line(&error).ends_with("; see `contain doctor`"));
    }

    #[test]
    fn who_lost_his_group_is_told_what_to_do() {
        let on_record = Error::new(ErrorKind::Gone, Operation::Open).with_group("x");
        assert!(line(&on_record).contains("; it is on record alone"), "{}", line(&on_record));
        for operation in [Operation::Place, Operation::Usage] {
            let error = Error::new(ErrorKind::Gone, operation).with_group("x").with_path("/x/y");
            assert!(line(&error).contains("; somebody removed the group"), "{}", line(&error));
        }
    }

    #[test]
    fn a_path_with_a_newline_stays_on_one_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
    }
}
