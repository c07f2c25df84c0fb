//! `contain completions` and `contain man`: what a package installs beside the program, made from the
//! very definition of the command line.

use containment::GROUP_VARIABLE;
use std::io::{self, Write as _};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::{Cli, Completions, Manual};
use crate::{errors, exit};

/// Prints the completions of a shell; gives the exit status.
pub(crate) fn completions(options: &Completions) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "contain", &mut script);
    printed("the completions", io::stdout().write_all(&script))
}

/// Prints a manual page; gives the exit status.
pub(crate) fn manual(options: &Manual) -> u8 {
    let (whole, name) = (built(), options.command.as_deref());
    let Some(command) = name.map_or(Some(&whole), |name| whole.find_subcommand(name)) else {
        errors::print_line(&format!(
            "failed to print the manual of {}: contain has no such subcommand; see `contain --help`",
            name.unwrap_or_default()
        ));
        return exit::USAGE;
    };
    printed("the manual", page(command).and_then(|page| io::stdout().write_all(&page)))
}

/// The command line, with every subcommand knowing that it is one.
fn built() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// The page of a command: `contain(1)`, `contain-run(1)`.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let source = concat!("contain ", env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    Man::new(command.clone()).source(source).manual("User Commands").render(&mut page)?;
    // What holds for every subcommand stands on the first page only.
    if command.has_subcommands() {
        sections().to_writer(&mut page)?;
    }
    Ok(page)
}

/// What the definition of the command line does not hold.
fn sections() -> Roff {
    let mut sections = Roff::new();
    for (heading, entries) in SECTIONS {
        sections.control("SH", [*heading]);
        for (term, text) in *entries {
            sections.control("TP", []).text([bold(*term)]).text([roman(*text)]);
        }
    }
    sections
}

type Section = (&'static str, &'static [(&'static str, &'static str)]);

const SECTIONS: &[Section] = &[
    (
        "EXIT STATUS",
        &[
            ("run, exec", "PROGRAM's own; 128+N when it died of signal N."),
            (
                "124",
                "run: a limit on time or on CPU time ended the group; wait: not empty in time.",
            ),
            ("125", "run, exec: contain itself failed: nothing was run, or containment was lost."),
            ("126, 127", "run, exec: PROGRAM cannot be executed; was not found."),
            ("137", "run: memory ran out, and the group was ended for it."),
            (
                "0, 1, 2",
                "The other subcommands: done; failed, in one line on stderr; not understood.",
            ),
            (
                "3, 4, 5, 6",
                "The same: no such group; it exists already; not permitted; not supported here.",
            ),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            (
                "CONTAIN_BACKEND, CONTAIN_PARENT, CONTAIN_STATE_DIR, CONTAIN_LOG",
                "As the options of these names.",
            ),
            (
                GROUP_VARIABLE,
                "Set for PROGRAM: the groups that it is in, outermost first, divided by colons.",
            ),
        ],
    ),
    (
        "FILES",
        &[(
            "$XDG_RUNTIME_DIR/contain, /run/contain, /tmp/contain-UID",
            "The groups on record; the first that there is: of the user, of root, of a user without a runtime directory.",
        )],
    ),
    (
        "EXAMPLES",
        &[
            (
                "contain run --timeout 10m -- make -j8",
                "A build that leaves nothing behind, and is over after ten minutes.",
            ),
            (
                "contain run --memory 2G --pids 500 --report r.json -- ./tests",
                "Limits, and what was used and found, as JSON.",
            ),
            ("contain doctor", "What this host can guarantee, and how to get more."),
            ("contain gc", "Ends what killed runs have left."),
        ],
    ),
];

fn printed(what: &str, written: io::Result<()>) -> u8 {
    match written {
        Ok(()) => exit::DONE,
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::DONE,
        Err(error) => {
            errors::print_line(&format!("failed to print {what}: {error}; check stdout"));
            exit::FAILED
        }
    }
}
