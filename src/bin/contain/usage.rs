//! Command lines that were not understood, and `--help`.

use std::ffi::OsString;
use std::io::Write as _;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use crate::cli::Cli;
use crate::{errors, exit};

/// Prints what clap has to say of these words; gives the exit status for it.
pub(crate) fn answer(words: &[OsString], error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match write!(anstream::stdout(), "{}", error.render().ansi()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    errors::not_printed("the help", &error)
                }
                // `contain --help | head -1` closes the pipe early, and that is no failure.
                _ => exit::DONE,
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = write!(anstream::stderr(), "{}", error.render().ansi());
            exit::USAGE
        }
        _ => {
            let subcommand = subcommand(words);
            let help = subcommand.as_ref().map_or(String::new(), |name| format!(" {name}"));
            errors::print_line(&format!("{}; see `contain{help} --help`", message(error)));
            match subcommand.as_deref() {
                Some("run" | "exec") => exit::RUN_FAILED,
                _ => exit::USAGE,
            }
        }
    }
}

/// The subcommand, in arguments that as a whole are wrong.
fn subcommand(words: &[OsString]) -> Option<String> {
    let command = Cli::command().ignore_errors(true);
    let matches = command.try_get_matches_from(words);
    matches.ok()?.subcommand_name().map(str::to_owned)
}

/// What clap says, on one line, without its usage text and the headings of its parts.
fn message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let parts = text.split("\n\n").filter(|part| {
        !part.trim().is_empty() && !part.starts_with("Usage:") && !part.starts_with("For more")
    });
    let parts: Vec<_> = parts
        .map(|part| part.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned())
        .collect();
    parts
        .join("; ")
        .replace("; tip: ", "; ")
        .replace(" tip: ", "; ")
        .trim_start_matches("error: ")
        .to_owned()
}
