//! The JSON report: its shape is a contract.

use std::fs::{File, OpenOptions};
use std::io::{self, Write, stderr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use containment::{
    Degradation, Error, Operation, Outcome, Pid, Result, Stalled, TeardownReport, Usage,
};
use serde::Serialize;

use super::end::{End, Reason};
use super::members::{MemberEntry, SurvivorEntry};
use crate::guarantees::Guarantees;
use crate::{engine, errors};

/// Where the report goes, opened before anything runs.
#[derive(Debug)]
pub(super) enum ReportFile {
    Stderr,
    File { file: File, path: PathBuf },
}

impl ReportFile {
    /// Opens `path`, or takes stderr for `-`. What the file holds stays until the report is written.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stderr);
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file =
            file.map_err(|error| Error::from_io(Operation::Report, &error).with_path(path))?;
        Ok(Self::File { file, path: path.to_owned() })
    }

    /// Writes the report as one line. What fails is told on one line, too.
    pub(super) fn write(self, end: &End) -> std::result::Result<(), String> {
        let failed = |path: &Path, error: &io::Error| {
            let remedy = match error.kind() {
                io::ErrorKind::StorageFull => "free some space there",
                _ if path == Path::new("stderr") => "check stderr, or name a file",
                _ => "check the path",
            };
            let why = errors::reason(error);
            format!("failed to write the report: {why}: {}; {remedy}", path.display())
        };
        let mut json = serde_json::to_vec(&Report::new(end))
            .map_err(|error| failed(Path::new("JSON"), &error.into()))?;
        json.push(b'\n');
        match self {
            Self::Stderr => {
                stderr().write_all(&json).map_err(|error| failed(Path::new("stderr"), &error))
            }
            Self::File { file, path } => {
                overwrite(file, &json).map_err(|error| failed(&path, &error))
            }
        }
    }
}

/// In place, and cut to length afterwards: truncating first makes ext4 free and allocate blocks.
fn overwrite(mut file: File, json: &[u8]) -> io::Result<()> {
    file.write_all(json)?;
    let (now, written) = (file.metadata()?, json.len() as u64);
    // A pipe or a terminal has no length to cut.
    if now.is_file() && now.len() > written { file.set_len(written) } else { Ok(()) }
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    version: u32,
    backend: &'static str,
    group: GroupEntry,
    node: String,
    step: Option<String>,
    guarantees: Guarantees,
    degraded: Vec<DegradedEntry<'a>>,
    pid: Option<i32>,
    outcome: Option<OutcomeEntry>,
    reason: Option<&'static str>,
    exit_status: u8,
    containment: &'static str,
    wall_seconds: f64,
    usage: UsageEntry,
    teardown: TeardownEntry<'a>,
}

#[derive(Debug, Serialize)]
struct GroupEntry {
    name: String,
    id: String,
}

#[derive(Debug, Serialize)]
struct DegradedEntry<'a> {
    what: &'a str,
    why: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OutcomeEntry {
    Exited(i32),
    Signaled(i32),
}

#[derive(Debug, Serialize)]
pub(crate) struct UsageEntry {
    cpu_seconds: Option<f64>,
    cpu_user_seconds: Option<f64>,
    cpu_system_seconds: Option<f64>,
    throttled_periods: Option<u64>,
    throttled_seconds: Option<f64>,
    memory_bytes: Option<u64>,
    memory_peak_bytes: Option<u64>,
    memory_anon_bytes: Option<u64>,
    memory_file_bytes: Option<u64>,
    memory_kernel_bytes: Option<u64>,
    swap_bytes: Option<u64>,
    pids: Option<u64>,
    pids_peak: Option<u64>,
    io_read_bytes: Option<u64>,
    io_write_bytes: Option<u64>,
    oom_kills: Option<u64>,
    pressure: PressureEntry,
}

/// For how long members waited; null where the kernel does not account for it.
#[derive(Debug, Serialize)]
struct PressureEntry {
    cpu: Option<StalledEntry>,
    memory: Option<StalledEntry>,
    io: Option<StalledEntry>,
}

#[derive(Debug, Serialize)]
struct StalledEntry {
    some_seconds: f64,
    full_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TeardownEntry<'a> {
    seconds: f64,
    left_behind: Vec<MemberEntry<'a>>,
    rounds: u32,
    escaped: Vec<MemberEntry<'a>>,
    survivors: Vec<SurvivorEntry<'a>>,
    errors: Vec<String>,
}

impl<'a> Report<'a> {
    fn new(end: &'a End) -> Self {
        Self {
            version: 1,
            backend: end.id.backend.name(),
            group: GroupEntry { name: end.id.name.to_string(), id: end.id.to_string() },
            node: engine::node(),
            step: engine::step(),
            guarantees: Guarantees::new(&end.capabilities),
            degraded: end.degraded.iter().map(DegradedEntry::new).collect(),
            pid: end.pid.map(Pid::as_raw),
            outcome: end.outcome.map(OutcomeEntry::new),
            reason: end.reason.map(|reason| match reason {
                Reason::Overrun(overrun) => overrun.name(),
                Reason::Signal(_) => "signal",
                Reason::Engine => "engine",
            }),
            exit_status: end.exit_status(),
            containment: end.containment(),
            wall_seconds: seconds(end.wall),
            usage: UsageEntry::new(&end.teardown.usage.unwrap_or_default()),
            teardown: TeardownEntry::new(&end.teardown),
        }
    }
}

impl<'a> DegradedEntry<'a> {
    fn new(degradation: &'a Degradation) -> Self {
        Self { what: &degradation.what, why: degradation.why.reason().to_string() }
    }
}

impl OutcomeEntry {
    pub(crate) fn new(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Exited(status) => Self::Exited(status),
            Outcome::Signaled(signal) => Self::Signaled(signal.as_raw()),
        }
    }
}

impl UsageEntry {
    pub(crate) fn new(usage: &Usage) -> Self {
        Self {
            cpu_seconds: usage.cpu.map(seconds),
            cpu_user_seconds: usage.cpu_user.map(seconds),
            cpu_system_seconds: usage.cpu_system.map(seconds),
            throttled_periods: usage.throttled_periods,
            throttled_seconds: usage.throttled.map(seconds),
            memory_bytes: usage.memory,
            memory_peak_bytes: usage.memory_peak,
            memory_anon_bytes: usage.memory_anon,
            memory_file_bytes: usage.memory_file,
            memory_kernel_bytes: usage.memory_kernel,
            swap_bytes: usage.swap,
            pids: usage.pids,
            pids_peak: usage.pids_peak,
            io_read_bytes: usage.io_read,
            io_write_bytes: usage.io_write,
            oom_kills: usage.oom_kills,
            pressure: PressureEntry {
                cpu: usage.pressure.cpu.map(StalledEntry::new),
                memory: usage.pressure.memory.map(StalledEntry::new),
                io: usage.pressure.io.map(StalledEntry::new),
            },
        }
    }
}

impl StalledEntry {
    fn new(stalled: Stalled) -> Self {
        Self { some_seconds: seconds(stalled.some), full_seconds: stalled.full.map(seconds) }
    }
}

impl<'a> TeardownEntry<'a> {
    pub(crate) fn new(report: &'a TeardownReport) -> Self {
        Self {
            seconds: seconds(report.elapsed),
            left_behind: report.left_behind.iter().map(MemberEntry::new).collect(),
            rounds: report.rounds,
            escaped: report.escaped.iter().map(MemberEntry::new).collect(),
            survivors: report.survivors.iter().map(SurvivorEntry::new).collect(),
            errors: report.errors.iter().map(errors::line).collect(),
        }
    }
}

/// Seconds to the microsecond: what is finer is noise.
pub(crate) fn seconds(time: Duration) -> f64 {
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::end::tests::{clean_end, member};
    use super::*;
    use containment::{ErrorKind, Hold, Link, Member, Origin, Overrun};

    #[test]
    fn the_shape_is_the_documented_one() {
        let mut end = clean_end();
        let why = Error::new(ErrorKind::Unsupported, Operation::SetLimits);
        end.degraded.push(Degradation { what: "limits.io-weight".to_owned(), why });
        end.reason = Some(Reason::Overrun(Overrun::Timeout));
        end.teardown.left_behind.push(member(5));
        let link = |comm: &str| Link::Process { pid: Pid::current(), comm: comm.to_owned() };
        let origin = Origin {
            args: Some(vec!["sleep".to_owned(), "9".to_owned()]),
            started: Some(Duration::from_millis(12_300)),
            chain: vec![Link::Unknown, link("gradle"), link("sleep")],
            held_by: Some(Hold { wchan: Some("nfs_wait".to_owned()), ..Hold::default() }),
        };
        end.teardown.survivors.push(Member { origin: Some(Box::new(origin)), ..member(6) });
        end.teardown.usage =
            Some(Usage { cpu: Some(Duration::from_millis(1500)), ..Usage::default() });
        let report =
            Report { node: "n1".to_owned(), step: Some("42_7.0".to_owned()), ..Report::new(&end) };
        let json = serde_json::to_string_pretty(&report).unwrap();
        insta::assert_snapshot!(json);
    }

    #[test]
    fn a_longer_report_that_was_there_before_leaves_no_rest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        std::fs::write(&path, "x".repeat(100_000)).unwrap();
        ReportFile::open(&path).unwrap().write(&clean_end()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["outcome"]["exited"], 3);
    }

    #[test]
    fn a_report_that_cannot_be_opened_is_told_with_its_path() {
        let error = ReportFile::open(Path::new("/no/such/report")).unwrap_err();
        assert_eq!(error.path(), Some(Path::new("/no/such/report")));
        assert_eq!(crate::exit::of_failed_run(&error), 125);
    }
}
