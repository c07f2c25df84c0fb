//! SECURITY.md, held against the sources: every test that it names in its table exists.

use std::fs;
use std::path::Path;

/// Where tests are.
const SOURCES: [&str; 6] = [
    "tests",
    "containment-core",
    "containment-process",
    "backend-cgroupv1",
    "backend-cgroupv2",
    "backend-pgrp",
];

#[test]
fn every_test_that_is_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources: Vec<_> = SOURCES.iter().flat_map(|source| texts(&root.join(source))).collect();
    let document = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let named = named_tests(&document);
    assert!(named.len() >= 15, "the table is not understood: {named:?}");
    for test in named {
        let as_function = format!("fn {test}(");
        let in_a_table = format!("\"{test}\"");
        let is_there = |text: &String| text.contains(&as_function) || text.contains(&in_a_table);
        assert!(sources.iter().any(is_there), "there is no test {test}");
    }
}

/// What the last column has in backticks and is no file.
fn named_tests(document: &str) -> Vec<&str> {
    let rows = document.lines().filter(|line| line.starts_with('|'));
    let last = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    last.flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| !name.contains('/'))
        .collect()
}

fn texts(directory: &Path) -> Vec<String> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| match path.extension() {
        _ if path.is_dir() => texts(&path),
        Some(extension) if extension == "rs" => vec![fs::read_to_string(path).unwrap()],
        _ => Vec::new(),
    };
    paths.flat_map(read).collect()
}
