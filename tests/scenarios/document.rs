//! The document that lists all scenarios, held against the sources: each id is there, and each test that it
//! names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

const LAST: usize = 52;

pub(crate) fn trials() -> Vec<Trial> {
    // What only a package has.
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml.orig").is_file();
    vec![
        Trial::test("document::every_scenario_is_listed_with_a_test", every_scenario_is_listed),
        // A package has the tests of one crate; the others' are named, too.
        Trial::test("document::every_test_that_it_names_exists", every_test_exists)
            .with_ignored_flag(packaged),
    ]
}

fn every_scenario_is_listed() -> Result<(), Failed> {
    let rows = rows();
    for number in 1..=LAST {
        let id = format!("K{number:02}");
        let row = rows.iter().find(|row| row.starts_with(&format!("| {id} |")));
        let row = row.ok_or_else(|| format!("{id} is missing"))?;
        let own = id.to_lowercase() + "_";
        if !tests_of(row).iter().any(|test| test.contains(&own)) {
            return Err(format!("no test of {id} is named").into());
        }
    }
    Ok(())
}

fn every_test_exists() -> Result<(), Failed> {
    let (named, known) = (named(), known());
    let dead: Vec<_> = named.difference(&known).collect();
    if dead.is_empty() && !named.is_empty() {
        Ok(())
    } else {
        Err(format!("no such tests: {dead:?}").into())
    }
}

fn rows() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SCENARIOS.md");
    let text = fs::read_to_string(path).expect("the document is there");
    text.lines().filter(|line| line.starts_with("| K")).map(str::to_owned).collect()
}

/// What stands in backquotes and is named after an id.
fn tests_of(row: &str) -> Vec<String> {
    let quoted = row.split('`').skip(1).step_by(2);
    quoted.filter(|name| is_a_test(name)).map(str::to_owned).collect()
}

fn named() -> BTreeSet<String> {
    rows().iter().flat_map(|row| tests_of(row)).collect()
}

/// The tests of the sources.
fn known() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("the sources can be read").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let hidden = name.to_string_lossy().starts_with('.') || name == "target";
            if path.is_dir() && !hidden {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are text");
                let functions = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
                found.extend(functions.filter(|name| is_a_test(name)).map(str::to_owned));
            }
        }
    }
    found
}

fn is_a_test(name: &str) -> bool {
    let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let digits = name.bytes().skip(1).take(2).all(|byte| byte.is_ascii_digit());
    word && name.len() > 4 && name.starts_with('k') && digits && name.as_bytes()[3] == b'_'
}
