//! The rows of the table of targets.

mod fresh;
mod kill;
mod reaper;
mod resident;
mod run;
mod spawn;
mod usage;

use containment::{Group, Policy};

use crate::measure::Result;
use crate::results::{Fact, Table};

/// A row that can be measured.
pub struct Plan {
    pub name: &'static str,
    pub title: &'static str,
    pub method: &'static str,
    pub measure: fn() -> Result<Found>,
}

/// What a measurement gave.
#[derive(Default)]
pub struct Found {
    pub tables: Vec<Table>,
    pub facts: Vec<Fact>,
}

pub const ROWS: [Plan; 7] =
    [spawn::PLAN, fresh::PLAN, resident::PLAN, kill::PLAN, run::PLAN, reaper::PLAN, usage::PLAN];

/// Ends a group of ours that was set up for others to be measured in.
fn end(group: Group) -> Result<()> {
    let report = group.terminate(&Policy::kill())?;
    if report.is_clean() { Ok(()) } else { Err(format!("something was left: {report:?}").into()) }
}
