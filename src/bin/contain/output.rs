//! What a subcommand prints on stdout: text for a person, or one JSON document on one line.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::{errors, exit};

/// Prints `text`; gives the exit status. `what` is its name where stdout does not take it.
pub(crate) fn print(what: &str, text: &str) -> u8 {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => exit::DONE,
        Err(error) => errors::not_printed(what, &error),
    }
}

/// Prints `document` on one line; gives the exit status, as [`print()`] does.
pub(crate) fn print_json(what: &str, document: &impl Serialize) -> u8 {
    match serde_json::to_string(document) {
        Ok(line) => print(what, &format!("{line}\n")),
        Err(error) => errors::not_printed(what, &error.into()),
    }
}
