//! Reports as `contain run --report` writes them, read one by one.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::StreamDeserializer;
use serde_json::de::IoRead;

use crate::errors;

/// The only version of a report that there is.
const VERSION: u32 = 1;

/// What is merged of a report. Fields that it lacks were not known then.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Report {
    #[serde(skip_serializing)]
    version: u32,
    pub(super) node: Option<String>,
    pub(super) step: Option<String>,
    pub(super) group: Group,
    pub(super) outcome: Option<Outcome>,
    pub(super) reason: Option<String>,
    pub(super) exit_status: u8,
    containment: Option<Containment>,
    pub(super) wall_seconds: f64,
    pub(super) usage: Usage,
    pub(super) teardown: Teardown,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Group {
    pub(super) name: String,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Exited(i32),
    Signaled(i32),
}

/// What became of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Containment {
    Held,
    Kept,
    Lost,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Usage {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) memory_peak_bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Teardown {
    pub(super) seconds: f64,
    pub(super) left_behind: Vec<Process>,
    pub(super) escaped: Vec<Process>,
    pub(super) survivors: Vec<Process>,
    errors: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) comm: String,
}

impl Report {
    /// Whether something of the run may live on that should not.
    pub(super) fn is_lost(&self) -> bool {
        self.containment == Some(Containment::Lost) || !self.teardown.survivors.is_empty()
    }

    /// How it ended, in a word or two.
    pub(super) fn ending(&self) -> String {
        match (&self.reason, self.outcome) {
            _ if self.is_lost() => "lost".to_owned(),
            (Some(reason), _) => reason.clone(),
            (None, Some(Outcome::Exited(status))) => format!("exited {status}"),
            (None, Some(Outcome::Signaled(signal))) => format!("signaled {signal}"),
            (None, None) => "not run".to_owned(),
        }
    }
}

/// The reports in a file, of which `-` is stdin. What cannot be read is one message, and the last thing
/// that comes of its file unless it is another document that is no report.
pub(super) fn reports(file: &Path) -> Reports {
    let opened: io::Result<Box<dyn Read>> = if file == Path::new("-") {
        Ok(Box::new(io::stdin().lock()))
    } else {
        File::open(file).map(|file| Box::new(file) as Box<dyn Read>)
    };
    let name = file.display().to_string();
    match opened {
        Ok(file) => Reports { name, from: Ok(documents(file)), documents: 0, is_over: false },
        Err(error) => Reports { name, from: Err(error), documents: 0, is_over: false },
    }
}

type Documents = StreamDeserializer<'static, IoRead<BufReader<Box<dyn Read>>>, serde_json::Value>;

fn documents(file: Box<dyn Read>) -> Documents {
    serde_json::Deserializer::from_reader(BufReader::with_capacity(64 * 1024, file)).into_iter()
}

/// An iteration over the reports of one file.
pub(super) struct Reports {
    name: String,
    from: io::Result<Documents>,
    documents: usize,
    is_over: bool,
}

impl Iterator for Reports {
    type Item = Result<Report, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let documents = match &mut self.from {
            Ok(documents) => documents,
            Err(error) => {
                let error = errors::reason(error);
                return Some(Err(self.give_up(&error, "check the path")));
            }
        };
        match documents.next() {
            Some(Ok(document)) => {
                self.documents += 1;
                Some(understood(document).map_err(|why| self.message(&why, "leave it out")))
            }
            Some(Err(error)) => Some(Err(self.give_up(
                &error.to_string(),
                "what follows there was not read: mend the file, or leave it out",
            ))),
            None if self.documents == 0 => {
                Some(Err(self.give_up("it is empty", "contain still runs, or was killed")))
            }
            None => None,
        }
    }
}

impl Reports {
    fn give_up(&mut self, why: &str, what_to_do: &str) -> String {
        self.is_over = true;
        self.message(why, what_to_do)
    }

    fn message(&self, why: &str, what_to_do: &str) -> String {
        let place = if self.documents > 1 {
            format!("document {} of ", self.documents)
        } else {
            String::new()
        };
        format!("failed to read a report: {why}: {place}{}; {what_to_do}", self.name)
    }
}

fn understood(document: serde_json::Value) -> Result<Report, String> {
    let report: Report =
        serde_json::from_value(document).map_err(|error| format!("not a report: {error}"))?;
    match report.version {
        VERSION => Ok(report),
        other => Err(format!("version {other} is not known")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A report with what every report has, and `with` on top.
    pub(in crate::merge) fn report(with: &serde_json::Value) -> Report {
        let mut document = serde_json::json!({
            "version": 1, "node": "n1", "step": "42.0", "group": {"name": "make-1", "id": "x"},
            "outcome": {"exited": 0}, "reason": null, "exit_status": 0, "containment": "held",
            "wall_seconds": 1.5, "usage": {"cpu_seconds": 0.25, "memory_peak_bytes": 1 << 20},
            "teardown": {"seconds": 0.001, "left_behind": [], "rounds": 1, "escaped": [],
                         "survivors": [], "errors": []},
        });
        for (name, value) in with.as_object().expect("an object") {
            document[name] = value.clone();
        }
        understood(document).expect("a report")
    }

    fn read(text: &str) -> Vec<Result<Report, String>> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("report");
        std::fs::write(&file, text).unwrap();
        reports(&file).collect()
    }

    fn text() -> String {
        let text = serde_json::to_string(&report(&serde_json::json!({}))).unwrap();
        text.replacen('{', "{\"version\":1,", 1)
    }

    #[test]
    fn a_file_may_hold_several_documents() {
        let two = format!("{}\n{}", text(), text());
        assert_eq!(read(&two).iter().filter(|report| report.is_ok()).count(), 2);
    }

    #[test]
    fn what_is_no_report_does_not_keep_the_others_in_the_file_from_being_read() {
        let all = read(&format!("{} {{\"version\": 2}} [1] {}", text(), text()));
        assert_eq!(all.iter().filter(|report| report.is_ok()).count(), 2);
        assert!(all[1].as_ref().unwrap_err().contains("document 2 of "), "{all:?}");
    }

    #[test]
    fn what_is_cut_off_or_no_json_is_told_once_and_ends_the_file() {
        let half = &text()[..40];
        for (rest, good) in [(half, 1), ("]]]", 1), ("\0", 1)] {
            let all = read(&format!("{}\n{rest}\n{}", text(), text()));
            assert_eq!((all.len(), all.iter().filter(|one| one.is_ok()).count()), (2, good));
        }
    }

    #[test]
    fn an_empty_report_is_one_whose_writer_did_not_get_to_it() {
        let all = read("\n");
        assert!(all[0].as_ref().unwrap_err().contains("contain still runs, or was killed"));
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn a_report_of_another_version_is_not_guessed_at() {
        let all = read(&text().replacen("\"version\":1", "\"version\":2", 1));
        assert!(all[0].as_ref().unwrap_err().contains("version 2 is not known"), "{all:?}");
    }

    #[test]
    fn an_ending_is_the_first_of_loss_reason_and_outcome() {
        let ending = |with| report(&with).ending();
        assert_eq!(ending(serde_json::json!({})), "exited 0");
        assert_eq!(ending(serde_json::json!({"outcome": {"signaled": 9}})), "signaled 9");
        assert_eq!(ending(serde_json::json!({"outcome": null, "exit_status": 127})), "not run");
        assert_eq!(ending(serde_json::json!({"reason": "timeout"})), "timeout");
        assert_eq!(ending(serde_json::json!({"reason": "oom", "containment": "lost"})), "lost");
    }
}
