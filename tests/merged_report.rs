//! `contain report`: the reports of many runs and nodes become one.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::job::Job;
use support::{contain, run};

/// The report of a run on a node, as a step of Slurm, whose script it is.
fn report_of(job: &Job, node: &str, step: &str, script: &str) -> String {
    let mut command = job.command(&["--grace", "100ms"], &["sh", "-c", &job.script(script)]);
    command.env("SLURMD_NODENAME", node).env("SLURM_JOB_ID", step);
    job.launch(&mut command).finish();
    fs::read_to_string(job.path("report")).expect("there is a report")
}

#[test]
fn runs_of_several_nodes_become_one_table_and_one_document() {
    let job = Job::on("auto");
    let directory = tempfile::tempdir().unwrap();
    // It is left behind under its own name, not under setsid's.
    let daemon = "setsid sleep 1000.MARK & until grep -q sleep /proc/$!/comm; do :; done";
    let runs = [("n1", "41", "exit 0"), ("n1", "42", "exit 3"), ("n2", "43", daemon)];
    let files = runs.map(|(node, step, script)| {
        let file = directory.path().join(step);
        fs::write(&file, report_of(&job, node, step, script)).unwrap();
        file.to_str().unwrap().to_owned()
    });
    let arguments: Vec<_> =
        ["report"].into_iter().chain(files.iter().map(|file| &**file)).collect();
    let table = run(&arguments);
    assert_eq!((table.status, &*table.stderr), (0, ""));
    let words: Vec<_> = table.stdout.split_whitespace().collect();
    let words = words.join(" ");
    for part in ["n1 exited 0 1 ", "n1 exited 3 1 ", "n2 exited 0 1 ", "1 sleep", "43.batch on n2"]
    {
        assert!(words.contains(part), "{part:?} in {}", table.stdout);
    }
    let merged = run(&[&arguments[..], &["--json"]].concat()).json();
    let steps: Vec<_> = merged["runs"].as_array().unwrap().iter().map(|run| &run["step"]).collect();
    assert_eq!(steps, ["41.batch", "42.batch", "43.batch"]);
    let totals = &merged["totals"];
    assert_eq!(
        (&totals["runs"], &totals["nodes"], &totals["lost"]),
        (&3.into(), &2.into(), &0.into())
    );
    let found = totals["left_behind"].as_u64().unwrap() + totals["escaped"].as_u64().unwrap();
    assert_eq!(found, 1, "{totals}");
}

#[test]
fn what_cannot_be_read_is_told_and_the_others_are_merged_all_the_same() {
    let job = Job::on("auto");
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file("good", &report_of(&job, "n1", "41", "exit 0").repeat(2));
    let bad = [
        file("empty", ""),
        file("cut", "{\"version\":1,"),
        file("other", "{\"version\":1}"),
        "/no/such".to_owned(),
    ];
    let names = bad.iter().map(|name| &**name).chain([&*good, "--json"]);
    let ran = run(&["report"].into_iter().chain(names).collect::<Vec<_>>());
    let (merged, lines) = (ran.json(), ran.stderr.lines().collect::<Vec<_>>());
    assert_eq!((ran.status, merged["runs"].as_array().unwrap().len()), (1, 2));
    assert_eq!((lines.len(), merged["errors"].as_array().unwrap().len()), (4, 4));
    for (line, name) in lines.iter().zip(&bad) {
        assert!(
            line.starts_with("contain: failed to read a report: ") && line.contains(name),
            "{line}"
        );
    }
}

#[test]
fn a_loss_of_containment_is_an_exit_status_of_1() {
    let text = report_of(&Job::on("auto"), "n1", "41", "exit 0");
    let mut report: Value = serde_json::from_str(&text).unwrap();
    report["containment"] = "lost".into();
    let ran = support::Ran::of(contain().args(["report", "-"]).write_stdin(report.to_string()));
    assert_eq!((ran.status, &*ran.stderr), (1, ""));
    assert!(ran.stdout.contains("lost"), "{}", ran.stdout);
}

/// With less address space than the text has bytes.
#[test]
fn reports_are_read_one_by_one() {
    let mut report: Value =
        serde_json::from_str(&report_of(&Job::on("auto"), "n1", "41", "exit 0")).unwrap();
    report["teardown"]["left_behind"] =
        serde_json::json!([{"pid": 5, "comm": "sleep", "args": ["x".repeat(32 << 10)]}]);
    let count = 1050;
    let all = format!("{report}\n").repeat(count);
    assert!(all.len() > 32 << 20, "{}", all.len());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("reports");
    fs::write(&file, all).unwrap();
    let limited = "ulimit -v 28000 && exec \"$@\"";
    let output = Command::new("sh")
        .args(["-c", limited, "sh"])
        .arg(support::binary())
        .arg("report")
        .arg(&file)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && table.contains(&format!("{count} sleep")), "{table}");
}
