//! What the README promises of each backend is what this host's backends say of themselves.

mod support;

use std::collections::BTreeMap;

use containment::{Backend, Containment, Keeper};
use serde_json::Value;
use support::run;

/// The columns of the README's table, by the names that `doctor` has for them.
const STRENGTHS: [&str; 4] = ["kill", "escape", "empty", "freeze"];

#[test]
fn every_backend_is_as_strong_as_the_readme_says() {
    let rows = rows();
    let document = run(&["doctor", "--json"]).json();
    for backend in document["backends"].as_array().unwrap() {
        let name = backend["name"].as_str().unwrap();
        let row = rows.get(&format!("`{name}`"));
        let row = row.unwrap_or_else(|| panic!("the README does not tell of {name}"));
        check(name, row, &backend["capabilities"]);
    }
}

#[test]
fn process_groups_without_a_keeper_are_as_weak_as_the_readme_says() {
    let host = Containment::builder().backend(Backend::ProcessGroup).keeper(Keeper::None).build();
    let host = host.expect("process groups can be used everywhere");
    let has = host.capabilities();
    let row = &rows()["`process-group`, in a library without a keeper"];
    let strengths = [("kill", has.kill.to_string()), ("escape", has.escape.to_string())];
    let others = [("empty", has.empty.to_string()), ("freeze", has.freeze.to_string())];
    let strengths =
        strengths.into_iter().chain(others).map(|(name, is)| (name.to_owned(), is.into()));
    check("process-group", row, &Value::Object(strengths.collect()));
}

/// What cannot be used here says nothing of itself.
fn check(name: &str, row: &[Vec<String>], capabilities: &Value) {
    for (strength, told) in STRENGTHS.iter().zip(row) {
        if let Some(real) = capabilities[strength].as_str() {
            assert!(
                told.iter().any(|word| word == real),
                "{name}: {strength}={real}, not {told:?}"
            );
        }
    }
}

/// The words that stand as code in each cell, by the first cell of the row.
fn rows() -> BTreeMap<String, Vec<Vec<String>>> {
    let table = include_str!("../README.md").lines().filter(|line| line.starts_with("| `"));
    let cells = table.map(|line| line.split('|').skip(1).map(str::trim).collect::<Vec<_>>());
    let rows = cells.filter(|cells| cells.len() > STRENGTHS.len());
    rows.map(|cells| (cells[0].to_owned(), cells[1..].iter().map(|cell| code(cell)).collect()))
        .collect()
}

fn code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
