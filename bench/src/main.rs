//! `bench [ROW…]`: measures these rows, or all, and writes `docs/BENCHMARKS.md` from what was found now and
//! before. `bench render` only writes it anew; `bench order` prints a script for the linker instead.

mod backends;
mod commands;
mod crowd;
mod floors;
mod machine;
mod measure;
#[cfg(target_arch = "x86_64")]
mod order;
mod peers;
mod plot;
mod results;
mod rows;
mod stats;
mod write;

use std::path::PathBuf;

use bench::bare;
use machine::Machine;
use measure::Result;
use results::Row;
use rows::{Plan, ROWS};

fn main() -> Result<()> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    #[cfg(target_arch = "x86_64")]
    if words == ["order"] {
        return order::print();
    }
    let unknown =
        words.iter().find(|word| *word != "render" && !ROWS.iter().any(|row| row.name == *word));
    if let Some(word) = unknown {
        let rows: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        return Err(format!("no row {word}; there are {}", rows.join(", ")).into());
    }
    for plan in
        ROWS.iter().filter(|plan| words.is_empty() || words.iter().any(|word| word == plan.name))
    {
        measure(plan)?;
        // After each, so that a run that is stopped leaves what it found.
        write::document(&docs(), &ROWS.map(|row| row.name))?;
    }
    write::document(&docs(), &ROWS.map(|row| row.name))
}

fn measure(plan: &Plan) -> Result<()> {
    eprintln!("{}: {}", plan.name, plan.title);
    let machine = Machine::this()?;
    let found = (plan.measure)()?;
    let row = Row {
        name: plan.name.to_owned(),
        title: plan.title.to_owned(),
        method: plan.method.to_owned(),
        machine,
        tables: found.tables,
        facts: found.facts,
    };
    row.save(&docs().join("benchmarks"))
}

/// The project's documents.
fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}
