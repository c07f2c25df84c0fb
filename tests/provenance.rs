//! Who was left, and who started them: a generated forest of daemons whose parents are dead, and what the
//! report says of it. `CONTAIN_SOAK` is the number of daemons.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use containment::{Ancestry, Signal};
use serde_json::{Value, json};
use support::backends::{on_each_backend, skip};
use support::job::{Ended, Job};
use support::{eventually, run};

on_each_backend!(
    chains_through_dead_parents_are_what_the_script_says,
    where_nobody_saw_them_a_chain_is_cut_where_the_dead_one_was,
    arguments_and_start_are_told,
    what_is_kept_is_told_the_same,
    a_person_reads_who_was_left_and_who_started_it,
    who_was_killed_by_name_is_told_with_what_is_known,
);

/// Processes by name: each has the name of who started it, and whether it lives on. The daemons are those
/// that start nobody.
struct Forest(BTreeMap<String, (String, bool)>);

impl Forest {
    /// So many daemons, up to four generations below the program, which is called `root`. Two of three
    /// of those in between are dead by the end.
    fn of(daemons: usize) -> Self {
        let mut nodes = BTreeMap::new();
        let inner = daemons / 3 + 2;
        for number in 0..inner {
            // Each below one of about half its number, so that generations are few.
            let parent = if number < 3 { "root".to_owned() } else { format!("n{}", number / 4) };
            nodes.insert(format!("n{number}"), (parent, number % 3 == 2));
        }
        for number in 0..daemons {
            let parent = format!("n{}", number % inner);
            nodes.insert(format!("d{number}"), (parent, true));
        }
        Self(nodes)
    }

    /// Writes a script for each, which starts those below it and then ends or stays, and gives the
    /// program. That one ends when there is a file called `go`.
    fn plant(&self, job: &Job) -> [String; 2] {
        for (name, (_, stays)) in &self.0 {
            if name.starts_with('d') {
                symlink(program("sleep"), job.path(name)).unwrap();
            } else {
                self.write(job, name, if *stays { "wait" } else { "exit 0" });
            }
        }
        self.write(job, "root", "while [ ! -e DIR/go ]; do sleep 0.01; done; exit 0");
        ["root", "root.sh"].map(|name| job.path(name).to_str().unwrap().to_owned())
    }

    fn write(&self, job: &Job, name: &str, end: &str) {
        let mut text = String::new();
        for child in self.0.iter().filter(|(_, (parent, _))| parent == name).map(|(name, _)| name) {
            // Some daemons are in a session of their own.
            let apart = if child.ends_with('4') { "setsid " } else { "" };
            let script = format!("DIR/{child}.sh");
            let argument = if child.starts_with('d') { "1000.MARK" } else { &script };
            writeln!(text, "{apart}DIR/{child} {argument} &").unwrap();
        }
        // A shell of that name, rather than a script that may be busy while another test forks.
        symlink(program("sh"), job.path(name)).unwrap();
        let script = job.script(&format!("{text}{end}\n"));
        fs::write(job.path(&format!("{name}.sh")), script).unwrap();
    }

    /// Who is left when the program has ended.
    fn left(&self) -> impl Iterator<Item = &String> {
        self.0.iter().filter(|(_, (_, stays))| *stays).map(|(name, _)| name)
    }

    /// Who started `name`, outermost first, and itself.
    fn chain(&self, name: &str) -> Vec<String> {
        let above = |name: &String| self.0.get(name).map(|(parent, _)| parent.clone());
        let mut chain: Vec<_> = std::iter::successors(Some(name.to_owned()), above).collect();
        chain.reverse();
        chain
    }

    /// The same, cut at the nearest that is dead.
    fn cut_chain(&self, name: &str) -> Vec<String> {
        let chain = self.chain(name);
        let dead = |name: &String| self.0.get(name).is_none_or(|(_, stays)| !stays);
        let at = chain.iter().rposition(dead).unwrap();
        [&["unknown".to_owned()], &chain[at + 1..]].concat()
    }

    /// Runs it, and lets the program end when everybody is there who is to stay, and nobody else.
    fn grow(&self, job: &Job) -> Ended {
        let program = self.plant(job);
        let running = job.start(&["--grace", "20s"], &[&program[0], &program[1]]);
        eventually("the forest has grown", || {
            let processes = job.processes();
            let is_there = |name: &String| processes.iter().any(|process| process.comm == *name);
            let (stay, go): (Vec<_>, Vec<_>) = self.0.iter().partition(|(_, (_, stays))| *stays);
            stay.iter().all(|(name, _)| is_there(name))
                && !go.iter().any(|(name, _)| is_there(name))
        });
        fs::write(job.path("go"), "").unwrap();
        running.finish().expect(0)
    }
}

/// Where a program is.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut places = std::env::split_paths(&path).map(|directory| directory.join(name));
    places.find(|place| place.exists()).unwrap()
}

fn daemons() -> usize {
    std::env::var("CONTAIN_SOAK").ok().and_then(|count| count.parse().ok()).unwrap_or(25)
}

/// Those who were left behind and those who had left the process group.
fn found(ended: &Ended) -> Vec<Value> {
    let teardown = &ended.report()["teardown"];
    let lists = ["left_behind", "escaped"].map(|list| teardown[list].as_array().unwrap().clone());
    lists.concat()
}

fn check(ended: &Ended, forest: &Forest, chain: impl Fn(&str) -> Vec<String>) {
    let found = found(ended);
    assert_eq!(found.len(), forest.left().count(), "{found:#?}");
    for name in forest.left() {
        let entry = found.iter().find(|entry| entry["comm"] == json!(name)).expect(name);
        assert_eq!(entry["chain"], json!(chain(name)), "{entry}");
    }
}

fn chains_through_dead_parents_are_what_the_script_says(backend: &str) {
    if let Err(error) = Ancestry::from_now_on().listen() {
        return skip("ancestry", &format!("the kernel cannot be listened to: {error}"));
    }
    let forest = Forest::of(daemons());
    let ended = forest.grow(&Job::on(backend));
    check(&ended, &forest, |name| forest.chain(name));
}

/// With few descriptors the kernel is not listened to.
fn where_nobody_saw_them_a_chain_is_cut_where_the_dead_one_was(backend: &str) {
    let forest = Forest::of(daemons());
    let job = Job::on(backend).behind(&["sh", "-c", "ulimit -n 200 && exec \"$@\"", "sh"]);
    let ended = forest.grow(&job);
    check(&ended, &forest, |name| forest.cut_chain(name));
}

fn arguments_and_start_are_told(backend: &str) {
    let job = Job::on(backend);
    let script =
        "sleep 0.5; sleep 1000.MARK >/dev/null 2>&1 & echo $! >DIR/left; sleep 0.1; exit 0";
    let ended = job.sh(&[], script).expect(0);
    let entries = found(&ended);
    assert_eq!(entries.len(), 1, "{entries:?}");
    let pid: i32 = job.text("left").trim().parse().unwrap();
    assert_eq!((&entries[0]["pid"], &entries[0]["comm"]), (&json!(pid), &json!("sleep")));
    assert_eq!(entries[0]["args"], json!(["sleep", job.script("1000.MARK")]));
    let started = entries[0]["started"].as_f64().unwrap();
    let wall = ended.report()["wall_seconds"].as_f64().unwrap();
    // To a clock tick, and both begin a little after the group was made.
    assert!(started > 0.48 && started < wall, "{started} of {wall}");
}

fn what_is_kept_is_told_the_same(backend: &str) {
    let job = Job::on(backend);
    let script = "sleep 1000.MARK >/dev/null 2>&1 & exit 0";
    let ended = job.start_sh(&["--keep", "--orphans", "keep"], script).finish_unchecked().expect(0);
    let entries = found(&ended);
    assert_eq!(entries.len(), 1, "{entries:?}");
    let last = entries[0]["chain"].as_array().unwrap().last().unwrap();
    // It may not have executed anything yet.
    assert_eq!(last, &entries[0]["comm"]);
    support::job::signal(entries[0]["pid"].as_i64().unwrap().try_into().unwrap(), Signal::KILL);
}

fn a_person_reads_who_was_left_and_who_started_it(backend: &str) {
    let job = Job::on(backend);
    let script = "sleep 1000.MARK >/dev/null 2>&1 & sleep 0.2; exit 0";
    let ended = job.start_sh(&["--stats", "--log", "info"], script).finish().expect(0);
    let seen = Ancestry::from_now_on().listen().is_ok();
    let chain = if seen { "s after the start): sh → sleep" } else { "unknown → sleep" };
    let lines = ended.stderr.lines();
    let told: Vec<_> = lines.filter(|line| line.contains(chain)).collect();
    assert_eq!(told.len(), 2, "in the log and in the table: {}", ended.stderr);
    assert!(told[0].contains("left behind: sleep (pid "), "{}", told[0]);
}

/// Who began the group is another process: when it began is not known, nor who has died since.
fn who_was_killed_by_name_is_told_with_what_is_known(backend: &str) {
    let job = Job::on(backend);
    let script = "sleep 1000.MARK & echo $$ >DIR/ready; wait";
    let running = job.start_sh(&[], script);
    job.await_line("ready");
    let state = job.path("state");
    let killed = run(&["--state-dir", state.to_str().unwrap(), "kill", "--json", job.name()]);
    let teardown = killed.json();
    assert_eq!(killed.status, 0, "{killed:?}");
    let left = teardown["left_behind"].as_array().unwrap();
    // Of a process group the program is on record; nobody is left behind while it is seen to run.
    assert!(!left.is_empty() || backend == "process-group", "{teardown}");
    for entry in left {
        assert_eq!(entry["started"], json!(null), "{entry}");
        assert_eq!(entry["chain"][0], json!("unknown"), "{entry}");
    }
    assert_eq!(running.finish().expect(137).report()["outcome"], json!({ "signaled": 9 }));
}
