//! The fuzz targets on a stable compiler: each parser on its seeds, on seeds that were damaged, and on any
//! bytes. `cargo fuzz` goes deeper (`just fuzz`); this runs everywhere.

#[path = "../../fuzz/entries.rs"]
mod entries;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

/// The real files of a target.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let files =
        fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let seed = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    files.map(|file| seed(file.unwrap().path())).collect()
}

/// How long each target is driven: `CONTAIN_FUZZ_SECONDS`, or a moment.
fn time_for_each() -> Duration {
    let seconds = std::env::var("CONTAIN_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    seconds.map_or(Duration::from_millis(100), Duration::from_secs_f64)
}

#[test]
fn every_target_has_seeds_and_a_file() {
    for (target, _) in entries::ALL {
        assert!(!seeds(target).is_empty(), "{target}");
        let file = format!("../fuzz/fuzz_targets/{target}.rs");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file).exists(), "{file}");
    }
}

#[test]
fn no_text_breaks_a_parser() {
    for (target, entry) in entries::ALL {
        let seeds: Vec<_> = seeds(target).into_iter().map(|(_, text)| text).collect();
        for text in &seeds {
            entry(text);
        }
        drive(*entry, &seeds);
    }
}

/// Feeds seeds that were damaged, plausible words and any bytes to `entry`.
fn drive(entry: entries::Entry, seeds: &[Vec<u8>]) {
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
    let damage = (0..seeds.len(), changes, any::<Index>());
    let words = prop::collection::vec(prop::sample::select(&WORDS[..]), 0..12);
    let mut runner = TestRunner::new(Config::default());
    let until = Instant::now() + time_for_each();
    while Instant::now() < until {
        let (which, changes, end) = damage.new_tree(&mut runner).unwrap().current();
        let mut text = seeds[which].clone();
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        entry(&text);
        entry(&text[..end.index(text.len() + 1)]);
        entry(words.new_tree(&mut runner).unwrap().current().concat().as_bytes());
        entry(&any::<Vec<u8>>().new_tree(&mut runner).unwrap().current());
    }
}

/// What kernels write in one file or the other.
const WORDS: [&str; 15] = [
    "max",
    "8:0",
    "some ",
    "total=",
    "rbytes=",
    "default",
    " ",
    "\n",
    "0-3,",
    "4096",
    "oom_kill ",
    "-",
    "18446744073709551615",
    "Total ",
    "0::/",
];
