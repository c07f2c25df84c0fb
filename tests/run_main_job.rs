//! The main job: a real `make -j4` build whose steps leave daemons behind. Its exit status is the
//! build's, the report says who was left, and nothing is left.

mod support;

use std::fs;

use support::backends::{doctor, have, on_each_backend, skip};
use support::job::{Ended, Job};
use support::{shapes, traces};

on_each_backend!(
    a_build_ends_with_its_status_and_none_of_its_daemons,
    a_build_that_fails_ends_with_its_status_and_none_of_its_daemons,
);

fn a_build_ends_with_its_status_and_none_of_its_daemons(backend: &str) {
    build(&Job::on(backend), backend, Source::Sound);
}

fn a_build_that_fails_ends_with_its_status_and_none_of_its_daemons(backend: &str) {
    build(&Job::on(backend), backend, Source::Broken);
}

#[test]
fn auto_takes_what_doctor_selects() {
    let selected = doctor()["selected"].as_str().expect("process groups can be used anywhere");
    build(&Job::on("auto"), selected, Source::Sound);
}

#[test]
fn without_cgroups_a_build_is_held_by_process_groups() {
    if shapes::can_be_made("main-job") {
        for source in [Source::Sound, Source::Broken] {
            let job = Job::on("auto").behind(&shapes::namespace(shapes::NO_CGROUPS));
            build(&job, "process-group", source);
        }
    }
}

#[test]
fn an_unprivileged_user_builds_in_process_groups() {
    if !shapes::is_root() {
        return skip("main-job", "only root can become another user; the other tests show it");
    }
    if have("main-job", &["setpriv"]) {
        let job = Job::on("auto").behind(&shapes::UNPRIVILEGED).with_reachable_binary();
        if let Some(ended) = build(&job, "process-group", Source::Sound) {
            assert!(ended.stderr.contains("not cgroup-v2: "), "{}", ended.stderr);
        }
    }
}

/// Whether the package can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Sound,
    Broken,
}

/// Who the build leaves: the file with its pid, its name, and whether it leaves its process group.
const DAEMONS: [(&str, &str, bool); 4] = [
    ("session", "sleep", true),
    ("daemon", "sleep", true),
    ("stubborn", "sleep", false),
    ("stopped", "sh", false),
];

/// Builds the package in `job`, and checks the status, the report and the traces.
/// `None` where there are no tools to build with.
fn build(job: &Job, backend: &str, source: Source) -> Option<Ended> {
    if !have("main-job", &["make", "cc", "setsid", "env"]) {
        return None;
    }
    let status = if source == Source::Sound { 0 } else { 2 };
    write_package(job, source);
    let directory = job.path("package");
    let options = ["--grace", "300ms", "--log", "contain=debug", "--chdir"];
    let options = [&options[..], &[directory.to_str().expect("UTF-8")]].concat();
    let ended = job.run(&options, &["make", "-j4"]).expect(status);
    assert_eq!(ended.report()["backend"], backend);
    assert_eq!(ended.report()["outcome"]["exited"], status);
    assert_eq!(directory.join("program").exists(), source == Source::Sound);
    check_daemons(job, &ended, backend);
    Some(ended)
}

/// The report lists exactly the daemons, each in the list where it belongs.
fn check_daemons(job: &Job, ended: &Ended, backend: &str) {
    let listed_as = |escaped: bool| {
        let daemons = DAEMONS.iter().filter(|(_, _, leaves)| {
            // No session leads out of a cgroup.
            (*leaves && backend == "process-group") == escaped
        });
        let mut listed: Vec<_> =
            daemons.map(|(file, comm, _)| (pid_in(job, file), (*comm).to_owned())).collect();
        listed.sort();
        listed
    };
    assert_eq!(ended.listed("left_behind"), listed_as(false), "{ended:#?}");
    assert_eq!(ended.listed("escaped"), listed_as(true), "{ended:#?}");
    assert_eq!(ended.listed("survivors"), []);
    for (file, ..) in DAEMONS {
        assert_eq!(traces::state(pid_in(job, file)), None, "{file} is a process still");
    }
}

fn pid_in(job: &Job, file: &str) -> i32 {
    job.text(file).trim().parse().unwrap_or_else(|_| panic!("{file} holds no pid"))
}

/// How many files are compiled.
const FILES: usize = 10;

fn write_package(job: &Job, source: Source) {
    let write = |file: String, text: &str| {
        fs::write(job.path(&format!("package/{file}")), text).expect("the directory is ours");
    };
    fs::create_dir(job.path("package")).expect("the directory is ours");
    open_to_all(job);
    for number in 0..FILES {
        let text = format!("int part{number}(int x) {{ return x * {number} + 1; }}\n");
        write(format!("part{number}.c"), &text);
    }
    let fault = if source == Source::Broken { "this is no C\n" } else { "" };
    write(
        "main.c".to_owned(),
        &format!("{fault}int part3(int);\nint main(void) {{ return part3(0) - 1; }}\n"),
    );
    write("daemons.sh".to_owned(), &job.script(DAEMONS_SCRIPT));
    write("Makefile".to_owned(), &makefile());
}

fn open_to_all(job: &Job) {
    use std::os::unix::fs::PermissionsExt as _;
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(job.path("package"), open).expect("the directory is ours");
}

/// Eleven compilations, a link, a run of what was built, and the step that leaves daemons; the program
/// is built after it, so that a build that fails leaves them, too.
fn makefile() -> String {
    let parts: Vec<_> = (0..FILES).map(|number| format!("part{number}.o")).collect();
    let parts = parts.join(" ");
    format!(
        "all: program\n\t./program\n\
         program: main.o {parts}\n\tcc -o $@ $^\n\
         main.o: main.c daemons.done\n\tcc -c -o $@ main.c\n\
         %.o: %.c\n\tcc -c -o $@ $<\n\
         daemons.done: daemons.sh\n\tsh daemons.sh && touch $@\n"
    )
}

/// A session of its own; a daemon without parent, session or environment; one that ignores TERM; one
/// that is stopped. Ends when each is what it is to be.
const DAEMONS_SCRIPT: &str = r#"
exec </dev/null >/dev/null 2>&1
setsid sh -c 'echo $$ >DIR/session; exec sleep 1000.MARK' &
( ( env -i "$(command -v setsid)" "$(command -v sh)" -c \
    'echo $$ >DIR/daemon; PATH=/usr/bin:/bin; exec sleep 1001.MARK' & ) & )
sh -c 'trap "" TERM; echo $$ >DIR/stubborn; exec sleep 1002.MARK' &
sh -c 'echo $$ >DIR/stopped; kill -STOP $$; sleep 1003.MARK' &
for daemon in session daemon stubborn; do
    until [ "$(cat /proc/"$(cat DIR/$daemon)"/comm)" = sleep ]; do sleep 0.01; done
done
until grep '^State:.T' /proc/"$(cat DIR/stopped)"/status; do sleep 0.01; done
"#;
