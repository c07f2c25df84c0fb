//! `contain init`: mounts the hierarchies of version 1 that are missing, for those who ask for it.

use containment::{Error, InitState, Initialized};

use crate::cli::Init;
use crate::table::Table;
use crate::{errors, exit, output};

/// Mounts, or with `--dry-run` says what would be mounted; gives the exit status.
pub(crate) fn init(options: &Init) -> u8 {
    let all = match containment::init(options.dry_run) {
        Ok(all) => all,
        Err(error) => return errors::failed(&error),
    };
    let printed = output::print("what was done", &told(&all, options.dry_run).to_string());
    if printed != exit::DONE {
        return printed;
    }
    all.iter().find_map(failure).map_or(exit::DONE, errors::failed)
}

fn failure(one: &Initialized) -> Option<&Error> {
    match &one.state {
        InitState::Failed(error) => Some(error),
        _ => None,
    }
}

/// One line for each hierarchy.
fn told(all: &[Initialized], dry_run: bool) -> Table {
    let mounted = if dry_run { "would be mounted" } else { "mounted" };
    let mut table = Table::default();
    for one in all {
        let (what, detail) = match &one.state {
            InitState::Present(point) => ("present", point.display().to_string()),
            InitState::Mounted(point) => (mounted, point.display().to_string()),
            InitState::Failed(error) => ("missing", error.reason().to_string()),
            _ => ("unknown", String::new()),
        };
        table.row([one.controller, what, &detail]);
    }
    table
}
