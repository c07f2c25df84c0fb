//! `contain completions` and `contain man`: what a package installs beside the program, made from the
//! very definition of the command line.

use std::io::{self, Write as _};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use containment::GROUP_VARIABLE;

use crate::cli::{Cli, Completions, Manual};
use crate::exit::{MEANINGS, Meaning, Of};
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

/// The exit status for what was written to stdout, or was not.
fn printed(what: &str, written: io::Result<()>) -> u8 {
    match written {
        Ok(()) => exit::DONE,
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::DONE,
        Err(error) => errors::not_printed(what, &error),
    }
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
    // No date, but a blank: of an empty one nothing is printed, and what follows takes its place.
    let man = Man::new(command.clone()).date(" ").source(source).manual("User Commands");
    man.render(&mut page)?;
    sections(command.get_name()).to_writer(&mut page)?;
    Ok(page)
}

/// What the definition of a command does not hold.
fn sections(command: &str) -> Roff {
    let mut sections = Roff::new();
    statuses(command, &mut sections);
    for Section { heading, on, entries } in SECTIONS {
        if !on.has(command) {
            continue;
        }
        sections.control("SH", [*heading]);
        for (term, text) in *entries {
            entry(&mut sections, term, text);
        }
    }
    sections
}

/// The exit statuses: all of them on the first page, their own on the pages of those that run a program.
fn statuses(command: &str, sections: &mut Roff) {
    let (first, runs) = (On::First.has(command), Of::RunAndExec.has(command));
    if !first && !runs {
        return;
    }
    sections.control("SH", ["EXIT STATUS"]);
    let whose = if first { "run, exec: " } else { "" };
    let own = format!("{whose}128+N when it died of signal N, or signal N to contain ended it.");
    entry(sections, "PROGRAM's own", &own);
    for Meaning { status, of, text } in &MEANINGS {
        if first {
            entry(sections, &status.to_string(), &format!("{}: {text}.", of.name()));
        } else if of.has(command) {
            entry(sections, &status.to_string(), &format!("{text}."));
        }
    }
}

fn entry(sections: &mut Roff, term: &str, text: &str) {
    sections.control("TP", []).text([bold(term)]).text([roman(text)]);
}

/// A section of the pages of some commands.
struct Section {
    heading: &'static str,
    on: On,
    entries: &'static [(&'static str, &'static str)],
}

/// The commands whose pages have a section.
enum On {
    /// `contain` itself.
    First,
    /// This one.
    One(&'static str),
    /// Every subcommand.
    Sub,
}

impl On {
    fn has(&self, command: &str) -> bool {
        match self {
            Self::First => command == "contain",
            Self::One(name) => command == *name,
            Self::Sub => command != "contain",
        }
    }
}

const SECTIONS: &[Section] = &[
    Section {
        heading: "SIGNALS",
        on: On::One("run"),
        entries: &[
            (
                "TERM, INT, HUP, QUIT",
                "End the group: every member gets the signal, then the grace passes, then SIGKILL. A second one kills at \
                 once. What the terminal itself sends goes to PROGRAM as well, and is left to it.",
            ),
            ("USR1, USR2, WINCH, CONT", "Are passed on to PROGRAM."),
            ("KILL", "Cannot be taken: the guardian ends the group, unless --orphans keep."),
        ],
    },
    Section {
        heading: "SIGNALS",
        on: On::One("exec"),
        entries: &[(
            "TERM, INT, HUP, QUIT, USR1, USR2, WINCH, CONT",
            "Are passed on to PROGRAM alone.",
        )],
    },
    Section {
        heading: "REPORT",
        on: On::One("run"),
        entries: &[
            (
                "outcome, reason, exit_status",
                "How PROGRAM ended, what else ended the group, and contain's own status.",
            ),
            ("guarantees, degraded", "What the backend gave, and what was done without."),
            ("node, step", "Where it ran, by the names of a cluster engine."),
            ("containment", "held; lost, where something survived; kept, by --keep."),
            ("usage", "Seconds and bytes; null where nobody measures it."),
            (
                "teardown",
                "left_behind: members that lived when PROGRAM ended; escaped: found outside of the group; survivors: alive \
                 still, and what holds them; errors.",
            ),
        ],
    },
    Section {
        heading: "SEE ALSO",
        on: On::Sub,
        entries: &[("contain(1)", "Exit statuses, environment, files.")],
    },
    Section {
        heading: "ENVIRONMENT",
        on: On::First,
        entries: &[
            (
                "CONTAIN_BACKEND, CONTAIN_PARENT, CONTAIN_STATE_DIR, CONTAIN_LOG",
                "As the options of these names.",
            ),
            (
                GROUP_VARIABLE,
                "Set for PROGRAM: the groups that it is in, outermost first, divided by colons.",
            ),
        ],
    },
    Section {
        heading: "FILES",
        on: On::First,
        entries: &[(
            "$XDG_RUNTIME_DIR/contain, /run/contain, /tmp/contain-UID",
            "The groups on record, in the first that can be used: of the user, of root, of a user without a runtime directory.",
        )],
    },
    Section {
        heading: "EXAMPLES",
        on: On::First,
        entries: &[
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
    },
];
