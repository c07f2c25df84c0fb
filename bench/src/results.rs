//! What a row found, as it is kept in `docs/benchmarks/` from one run to the next.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::measure::Result;
use crate::stats::{self, Ratio, Spread};

/// One row of the benchmarks: contests about the same thing.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub title: String,
    /// What is timed, and how.
    pub method: String,
    pub machine: Machine,
    pub tables: Vec<Table>,
    /// Figures that are no times.
    pub facts: Vec<Fact>,
}

/// One contest.
#[derive(Debug, Serialize, Deserialize)]
pub struct Table {
    pub title: String,
    /// The plot that it is a point of, and its size there.
    pub series: Option<(String, u64)>,
    pub lines: Vec<Line>,
    pub absent: Vec<Absent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Floor,
    Ours,
    Peer,
}

/// One way, and how long it took in each round.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    pub kind: Kind,
    pub guarantee: String,
    pub bounds: Vec<Bound>,
    pub micros: Vec<f64>,
}

/// What a way is told beside, and what was set out to be reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bound {
    pub floor: String,
    pub target: Option<f64>,
}

/// Who did not take part, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    pub name: String,
    pub why: String,
}

/// A figure that is no time, with the largest value that was set out to be reached.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fact {
    pub name: String,
    pub value: f64,
    pub unit: String,
    pub target: Option<f64>,
}

/// Whether a target was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Reached,
    /// The interval touches 1.05: it cannot be told to be slower.
    Touches,
    Missed,
}

/// "Not slower" means that the interval of the ratio touches this.
const NOT_SLOWER: f64 = 1.05;

impl Verdict {
    pub fn of(ratio: Ratio, target: f64) -> Self {
        if ratio.value <= target {
            Self::Reached
        } else if ratio.low <= NOT_SLOWER {
            Self::Touches
        } else {
            Self::Missed
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Touches => "touches 1.05",
            Self::Missed => "**missed**",
        }
    }
}

impl Line {
    pub fn spread(&self) -> Spread {
        stats::spread(&self.micros)
    }
}

impl Table {
    /// The ratio of a line to the floor that it is told beside.
    pub fn ratio(&self, line: &Line, bound: &Bound) -> Option<Ratio> {
        let floor = self.lines.iter().find(|other| other.name == bound.floor)?;
        Some(stats::ratio(&line.micros, &floor.micros))
    }

    /// Tells how it went while the others run.
    pub fn print(&self) {
        for line in &self.lines {
            let mut text = format!("    {:<44}{:>11.1} µs", line.name, line.spread().median);
            for bound in &line.bounds {
                let Some(ratio) = self.ratio(line, bound) else { continue };
                text += &format!("  {:.2} ({:.2}–{:.2})", ratio.value, ratio.low, ratio.high);
                if let Some(target) = bound.target {
                    text += &format!(" ≤ {target}: {}", Verdict::of(ratio, target).words());
                }
            }
            eprintln!("{text}");
        }
    }
}

impl Row {
    pub fn save(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(path(directory, &self.name), serde_json::to_string(self)? + "\n")?;
        Ok(())
    }

    /// What was found last time, if anything was.
    pub fn load(directory: &Path, name: &str) -> Result<Option<Self>> {
        match fs::read(path(directory, name)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_missed_is_said_to_be() {
        let ratio = |value, low, high| Ratio { value, low, high };
        assert_eq!(Verdict::of(ratio(1.15, 1.1, 1.2), 1.2), Verdict::Reached);
        assert_eq!(Verdict::of(ratio(1.04, 0.98, 1.1), 1.0), Verdict::Touches);
        assert_eq!(Verdict::of(ratio(1.3, 1.2, 1.4), 1.2), Verdict::Missed);
    }
}
