//! docs/SEEDS.md, held against the sources: every row is there, and every item, command, option, file and test
//! that it names exists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROWS: [(char, usize); 5] = [('C', 11), ('B', 7), ('T', 5), ('G', 6), ('N', 8)];

/// The document's own short names, and what they stand for.
const SHORT: [(&str, &str); 6] = [
    ("core", "containment-core/tests"),
    ("v1", "backend-cgroupv1/tests"),
    ("v2", "backend-cgroupv2/tests"),
    ("pgrp", "backend-pgrp"),
    ("process", "containment-process"),
    ("conf", "tests/conformance/cases"),
];

/// Where public items are declared.
const LIBRARIES: [&str; 7] = [
    "src",
    "containment-core/src",
    "containment-process/src",
    "backend-cgroupv1/src",
    "backend-cgroupv2/src",
    "backend-pgrp/src",
    "backend-fake/src",
];

struct Row {
    id: String,
    items: Vec<String>,
    shown_by: Vec<String>,
}

#[test]
fn every_row_is_there_and_names_items_and_tests() {
    let expected =
        ROWS.iter().flat_map(|(letter, last)| (1..=*last).map(move |n| format!("{letter}{n}")));
    let rows = rows();
    assert!(rows.iter().map(|row| row.id.clone()).eq(expected));
    for row in rows {
        assert!(!row.items.is_empty() && !row.shown_by.is_empty(), "{}", row.id);
    }
}

#[test]
fn every_item_exists() {
    let sources: Vec<_> = LIBRARIES.iter().flat_map(|library| texts(&at(library))).collect();
    for Row { id, items, .. } in rows() {
        for item in items.iter().flat_map(|item| each_of(item)) {
            assert!(is_declared(&item, &sources), "{id}: there is no {item}");
        }
    }
}

#[test]
fn every_test_exists_in_its_file() {
    for Row { id, shown_by, .. } in rows() {
        let mut text = String::new();
        for named in shown_by {
            let (file, test) = match named.split_once(": ") {
                Some((file, test)) => (Some(file), Some(test)),
                None if named.contains(['/', '.']) => (Some(&*named), None),
                None => (None, Some(&*named)),
            };
            if let Some(file) = file {
                text =
                    fs::read_to_string(full(file)).unwrap_or_else(|e| panic!("{id}: {file}: {e}"));
            }
            // As a function, or in a table.
            let is_there = |test| {
                text.contains(&format!("fn {test}(")) || text.contains(&format!("\"{test}\""))
            };
            assert!(test.is_none_or(is_there), "{id}: there is no test {named}");
        }
    }
}

fn rows() -> Vec<Row> {
    let document = fs::read_to_string(at("docs/SEEDS.md")).unwrap();
    let is_row = |line: &&str| {
        line.split(' ').nth(1).is_some_and(|id| id.ends_with(|c: char| c.is_ascii_digit()))
    };
    let lines = document.lines().filter(|line| line.starts_with("| ")).filter(is_row);
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [id, _, item, shown_by] = cells[..] else { panic!("not four cells: {line}") };
    Row { id: id.to_owned(), items: quoted(item), shown_by: quoted(shown_by) }
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `Group::{spawn, attach}` is two.
fn each_of(item: &str) -> Vec<String> {
    let Some((base, names)) = item.split_once('{') else { return vec![item.to_owned()] };
    names.trim_end_matches('}').split(", ").map(|name| format!("{base}{name}")).collect()
}

/// A subcommand and an option by the program's own help, an item by its declaration.
fn is_declared(item: &str, sources: &[String]) -> bool {
    if let Some(subcommand) = item.strip_prefix("contain ") {
        return help(subcommand).is_some();
    }
    if item.starts_with("--") {
        return help("run").is_some_and(|text| text.split_whitespace().any(|word| word == item));
    }
    let path = item.split('(').next().unwrap_or(item);
    let declares = |name: &str, text: &str| {
        let keywords = ["fn", "struct", "enum", "trait", "type", "mod", "as"];
        keywords.iter().any(|keyword| declared_as(&format!("{keyword} {name}"), text))
            || text
                .lines()
                .map(str::trim)
                .any(|line| declared_as(name, line) && line.starts_with(name))
            || declared_as(&format!("pub {name}:"), text)
    };
    match path.split_once("::") {
        None => sources.iter().any(|text| declares(path, text)),
        Some((owner, name)) => {
            sources.iter().any(|text| declares(owner, text))
                && sources.iter().any(|text| text.contains(owner) && declares(name, text))
        }
    }
}

/// Whether the words stand there, and end there.
fn declared_as(words: &str, text: &str) -> bool {
    text.match_indices(words).any(|(at, _)| {
        let next = text[at + words.len()..].chars().next();
        next.is_none_or(|next| !next.is_alphanumeric() && next != '_')
    })
}

fn help(subcommand: &str) -> Option<String> {
    let told =
        Command::new(env!("CARGO_BIN_EXE_contain")).args([subcommand, "--help"]).output().unwrap();
    told.status.success().then(|| String::from_utf8(told.stdout).unwrap())
}

/// The path of a file that the document names.
fn full(file: &str) -> PathBuf {
    let (short, rest) = file.split_once('/').unwrap_or((file, ""));
    match SHORT.iter().find(|(name, _)| *name == short) {
        Some((_, long)) if rest.is_empty() => at(long).join(short).with_extension("rs"),
        Some((_, long)) => at(long).join(rest),
        None => at(file),
    }
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the sources below a directory say.
fn texts(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() { texts(&path) } else { vec![fs::read_to_string(path).unwrap()] }
        })
        .collect()
}
