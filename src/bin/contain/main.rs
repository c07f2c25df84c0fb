//! `contain`: runs programs in groups that leave nothing behind.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

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

use std::ffi::OsString;

use containment::Role;
use containment_process::heap::Heap;

use cli::{Cli, Command};

#[global_allocator]
static HEAP: Heap = Heap::new();

#[cfg(all(target_arch = "x86_64", target_env = "musl"))]
containment_process::copies!("memcpy", "memmove");

#[cfg(not(test))]
containment_process::entry!(main);

fn main(words: &[OsString]) -> u8 {
    // What a process starts for itself does without the parser, which it would have in memory for ever.
    match words.get(1).and_then(|word| word.to_str()) {
        Some("guard") => serve::serve(Role::Guard),
        Some("keep") => serve::serve(Role::Keep),
        _ => match Cli::read(words) {
            Ok(cli) => dispatch(&cli),
            Err(error) => usage::answer(words, &error),
        },
    }
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
