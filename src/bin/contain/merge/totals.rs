//! What many reports come to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::read::{Process, Report};

/// The length of the lists of those that stand out.
const MOST: usize = 5;
/// So many runs that lost containment are named.
const LOST: usize = 20;
/// So many names of processes are told apart.
const NAMES: usize = 1000;

/// The totals of the reports so far.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// By node and ending.
    pub(super) rows: BTreeMap<(Option<String>, String), Sums>,
    pub(super) all: Sums,
    pub(super) left_behind: Names,
    pub(super) escaped: Names,
    pub(super) survivors: Names,
    pub(super) slowest: Top<f64>,
    pub(super) hungriest: Top<u64>,
    /// How many runs lost containment, and some of them.
    pub(super) lost: u64,
    pub(super) lost_runs: Vec<Run>,
    pub(super) errors: Vec<String>,
}

/// Sums over some runs.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Sums {
    pub(super) runs: u64,
    pub(super) wall_seconds: f64,
    /// Over those that were measured; `None` when none was.
    pub(super) cpu_seconds: Option<f64>,
    /// The largest of any.
    pub(super) memory_peak_bytes: Option<u64>,
    pub(super) left_behind: usize,
    pub(super) escaped: usize,
    pub(super) survivors: usize,
}

/// A run, as far as it takes to find it again.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Run {
    pub(super) node: Option<String>,
    pub(super) step: Option<String>,
    pub(super) group: String,
}

/// How many processes there were, by their names.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) counts: BTreeMap<String, u64>,
    /// Those whose names would have been too many.
    pub(super) others: u64,
    /// How many runs had any.
    pub(super) runs: u64,
}

/// The runs with the largest figures, largest first.
#[derive(Debug)]
pub(super) struct Top<T>(pub(super) Vec<(T, Run)>);

impl Totals {
    /// Adds a run.
    pub(super) fn add(&mut self, report: &Report) {
        self.rows.entry((report.node.clone(), report.ending())).or_default().add(report);
        self.all.add(report);
        let teardown = &report.teardown;
        self.left_behind.add(&teardown.left_behind);
        self.escaped.add(&teardown.escaped);
        self.survivors.add(&teardown.survivors);
        self.slowest.add(report.wall_seconds, report);
        if let Some(peak) = report.usage.memory_peak_bytes {
            self.hungriest.add(peak, report);
        }
        if report.is_lost() {
            self.lost += 1;
            if self.lost_runs.len() < LOST {
                self.lost_runs.push(Run::of(report));
            }
        }
    }

    /// Adds what could not be read.
    pub(super) fn add_error(&mut self, message: String) {
        self.errors.push(message);
    }

    /// Whether every report was read, and none tells of a loss.
    pub(super) fn is_sound(&self) -> bool {
        self.errors.is_empty() && self.lost == 0
    }

    /// How many nodes there are; runs whose node is not known count as one.
    pub(super) fn nodes(&self) -> usize {
        let mut nodes: Vec<_> = self.rows.keys().map(|(node, _)| node).collect();
        nodes.dedup();
        nodes.len()
    }
}

impl Sums {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.wall_seconds += report.wall_seconds;
        if let Some(cpu) = report.usage.cpu_seconds {
            *self.cpu_seconds.get_or_insert_default() += cpu;
        }
        self.memory_peak_bytes = self.memory_peak_bytes.max(report.usage.memory_peak_bytes);
        self.left_behind += report.teardown.left_behind.len();
        self.escaped += report.teardown.escaped.len();
        self.survivors += report.teardown.survivors.len();
    }
}

impl Run {
    fn of(report: &Report) -> Self {
        Self {
            node: report.node.clone(),
            step: report.step.clone(),
            group: report.group.name.clone(),
        }
    }
}

impl Names {
    fn add(&mut self, processes: &[Process]) {
        self.runs += u64::from(!processes.is_empty());
        for process in processes {
            let is_full = self.counts.len() == NAMES;
            match self.counts.get_mut(&process.comm) {
                Some(count) => *count += 1,
                None if is_full => self.others += 1,
                None => {
                    self.counts.insert(process.comm.clone(), 1);
                }
            }
        }
    }

    /// The names, the most frequent first.
    pub(super) fn by_count(&self) -> Vec<(&str, u64)> {
        let mut names: Vec<_> =
            self.counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        names
    }
}

impl<T> Default for Top<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialOrd + Copy> Top<T> {
    fn add(&mut self, figure: T, report: &Report) {
        let place = self.0.partition_point(|(other, _)| *other >= figure);
        if place < MOST {
            self.0.truncate(MOST - 1);
            self.0.insert(place, (figure, Run::of(report)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::report;
    use super::*;
    use serde_json::json;

    #[test]
    fn the_largest_come_first_and_are_few() {
        let mut totals = Totals::default();
        for seconds in [3, 9, 1, 7, 5, 8, 2] {
            totals.add(&report(&json!({"wall_seconds": seconds})));
        }
        let seconds: Vec<_> = totals.slowest.0.iter().map(|(seconds, _)| *seconds).collect();
        assert_eq!(seconds, [9.0, 8.0, 7.0, 5.0, 3.0]);
    }

    #[test]
    fn more_names_than_are_told_apart_are_still_counted() {
        let mut totals = Totals::default();
        for pid in 0..NAMES + 3 {
            let left = json!([{"pid": pid, "comm": format!("x{pid}")}, {"pid": 1, "comm": "x0"}]);
            let teardown = json!({"seconds": 0, "left_behind": left, "escaped": [], "survivors": [], "errors": []});
            totals.add(&report(&json!({"teardown": teardown})));
        }
        assert_eq!((totals.left_behind.counts.len(), totals.left_behind.others), (NAMES, 3));
        assert_eq!(totals.left_behind.by_count()[0], ("x0", NAMES as u64 + 4));
        assert_eq!(totals.all.left_behind, 2 * (NAMES + 3));
    }

    #[test]
    fn figures_that_nobody_measured_are_none() {
        let mut totals = Totals::default();
        totals.add(&report(&json!({"usage": {}})));
        assert_eq!((totals.all.cpu_seconds, totals.all.memory_peak_bytes), (None, None));
        totals.add(&report(&json!({})));
        assert_eq!(
            (totals.all.cpu_seconds, totals.all.memory_peak_bytes),
            (Some(0.25), Some(1 << 20))
        );
    }

    #[test]
    fn runs_of_no_known_node_count_as_one() {
        let mut totals = Totals::default();
        for node in [json!("n1"), json!(null), json!("n1"), json!(null)] {
            totals.add(&report(&json!({"node": node})));
        }
        totals.add(&report(&json!({"node": "n1", "reason": "oom"})));
        assert_eq!((totals.nodes(), totals.rows.len()), (2, 3));
    }
}
