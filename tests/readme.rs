//! What the README promises of each backend is what this host's backends say of themselves.

mod support;

use std::collections::BTreeMap;

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
        let row = rows.get(name).unwrap_or_else(|| panic!("the README does not tell of {name}"));
        check(name, row, &backend["capabilities"]);
    }
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

/// The words that stand as code in each cell, by the backend of the row.
fn rows() -> BTreeMap<String, Vec<Vec<String>>> {
    let table = include_str!("../README.md").lines().filter(|line| line.starts_with("| `"));
    let rows = table.map(|line| line.split('|').skip(1).map(code).collect::<Vec<_>>());
    rows.filter(|cells| cells.len() > STRENGTHS.len())
        .map(|cells| (cells[0][0].clone(), cells[1..].to_vec()))
        .collect()
}

fn code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
