//! `contain`: runs programs in groups that leave nothing behind.
#![forbid(unsafe_code)]

mod cli;
mod doctor;
mod engine;
mod errors;
mod exit;
mod groups;
mod guarantees;
mod init;
mod isolation;
mod limits;
mod logging;
mod manual;
mod merge;
mod output;
mod record;
mod run;
mod serve;
mod table;
mod usage;
mod values;

use std::ffi::OsStr;
use std::mem::ManuallyDrop;
use std::process::ExitCode;

use clap::Parser;
use containment::Role;
use containment_process::heap::Heap;

use cli::{Cli, Command, RunLine};

#[global_allocator]
static HEAP: Heap = Heap::new();

fn main() -> ExitCode {
    // What a process starts for itself does without the parser, which it would have in memory for ever.
    match std::env::args_os().nth(1).as_deref().and_then(OsStr::to_str) {
        Some("guard") => ExitCode::from(serve::serve(Role::Guard)),
        Some("keep") => ExitCode::from(serve::serve(Role::Keep)),
        Some("run") => match parse::<RunLine>(1) {
            Ok(line) => ExitCode::from(dispatch(&line.into())),
            Err(_) => by_whole_command_line(),
        },
        _ => by_whole_command_line(),
    }
}

/// The parser of everything also says what is wrong with a line, and helps.
fn by_whole_command_line() -> ExitCode {
    match parse::<Cli>(0) {
        Ok(cli) => ExitCode::from(dispatch(&cli)),
        Err(error) => ExitCode::from(usage::answer(&error)),
    }
}

/// The parser stays in memory: to take its thousand pieces apart takes as long as to parse.
fn parse<Line: Parser>(skip: usize) -> Result<Line, clap::Error> {
    let mut command = ManuallyDrop::new(Line::command());
    let mut matches = command.try_get_matches_from_mut(std::env::args_os().skip(skip))?;
    Line::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

fn dispatch(cli: &Cli) -> u8 {
    cli.global.color.apply();
    logging::start(&cli.global.log);
    match &cli.command {
        Command::Run(options) => run::run(&cli.global, options),
        Command::Doctor(options) => doctor::doctor(&cli.global, options),
        Command::Ls(options) => record::ls(&cli.global, options),
        Command::Gc(options) => record::gc(&cli.global, options),
        Command::Init(options) => init::init(options),
        Command::Completions(options) => manual::completions(options),
        Command::Manual(options) => manual::manual(options),
        Command::Report(options) => merge::report(options),
        Command::Group(command) => groups::dispatch(&cli.global, command),
    }
}
