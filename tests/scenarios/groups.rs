//! Groups themselves: their names, levels, kinds, hierarchies and figures.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::stage::{contain, create, exec, sleepers, three};
use crate::support::backends::have;
use crate::support::job::Job;
use crate::support::{binary, eventually, traces};

pub(crate) fn k08_a_name_that_is_taken_is_refused_and_nothing_in_it_touched(backend: &str) {
    let job = Job::on(backend);
    let running = three(&job);
    let again = ["run", "--backend", backend, "--name", job.name(), "--", "true"];
    let refused = contain(&job, &again).expect(125);
    let line = refused.error_line();
    assert!(line.contains(job.name()) && line.contains("choose another name"), "{line}");
    assert_eq!(sleepers(&job), 3, "what bears the name lives on");
    contain(&job, &["kill", job.name()]).expect(0);
    running.finish().expect(137);
}

pub(crate) fn k11_five_levels_with_live_members_are_refused_and_then_removed(backend: &str) {
    let job = Job::on(backend);
    let deepest = format!("{}/a/b/c/d", job.name());
    create(&job, backend, &deepest);
    let program = exec(&job, &deepest, "exec sleep 1000.MARK");
    eventually("it sleeps", || sleepers(&job) == 1);
    let refused = contain(&job, &["rm", job.name()]).expect(1);
    assert!(refused.error_line().contains(job.name()), "{}", refused.stderr);
    assert_eq!(sleepers(&job), 1, "it lives");
    contain(&job, &["rm", "--force", job.name()]).expect(0);
    program.finish_unchecked().expect(137);
    job.check_nothing_left();
}

/// `$d` is the directory of the shell's own group in the unified hierarchy.
const OWN_DIRECTORY: &str = "d=$(awk '/ - cgroup2 /{print $5; exit}' /proc/self/mountinfo)\
    $(sed -n 's/^0:://p' /proc/self/cgroup); ";

pub(crate) fn k12_a_threaded_group_is_listed_and_killed(backend: &str) {
    let job = Job::on(backend);
    let script = format!(
        "{OWN_DIRECTORY} mkdir $d/in && echo threaded >$d/in/cgroup.type || exit 9; \
         sleep 1000.MARK & echo $! >$d/in/cgroup.procs || exit 9; echo up >DIR/up; exec sleep 1001.MARK"
    );
    let running = job.start_sh(&["--grace", "0"], &script);
    job.await_line("up");
    eventually("both sleep", || sleepers(&job) == 2);
    let listed = crate::stage::document(&job, &["ps", job.name(), "--json"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    contain(&job, &["kill", job.name()]).expect(0);
    running.finish().expect(137);
}

pub(crate) fn k15_an_invalid_domain_is_a_typed_error(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend, job.name());
    let threaded = unified(job.name()).join("t");
    fs::create_dir(&threaded).expect("the group is ours");
    fs::write(threaded.join("cgroup.type"), "threaded").expect("an empty group can be threaded");
    // Beside a threaded group a new one is no valid domain until it is threaded, too.
    let invalid = format!("{}/u", job.name());
    create(&job, backend, &invalid);
    let refused = exec(&job, &invalid, "echo ran >DIR/ran").finish_unchecked().expect(125);
    assert!(refused.error_line().contains("EOPNOTSUPP"), "{}", refused.stderr);
    assert_eq!(job.text("ran"), "", "it must not run");
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
}

/// The directory of a group in the unified hierarchy.
fn unified(name: &str) -> PathBuf {
    let found = traces::groups_called(name).into_iter();
    let mut unified = found.filter(|group| group.join("cgroup.type").exists());
    unified.next().expect("it is in the unified hierarchy")
}

/// The limit that is hit is an ancestor's; the kill is counted where its victim was.
pub(crate) fn k30_an_oom_at_an_ancestor_is_told_by_its_kill(backend: &str) {
    let job = Job::on(backend);
    contain(&job, &["create", "--backend", backend, "--memory", "32M", job.name()]).expect(0);
    let inner = format!("{}/inner", job.name());
    let mut run = job.bare_command();
    run.args(["run", "--backend", backend, "--name", &inner, "--memory", "512M", "--report"]);
    run.arg(job.path("report")).args(["--", "sh", "-c"]);
    run.arg("dd if=/dev/zero of=/dev/null bs=200M count=1; exit 6");
    let ended = job.launch(&mut run).finish_unchecked().expect(137);
    assert_eq!(ended.report()["reason"], "oom");
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
}

pub(crate) fn k33_each_controller_is_resolved_by_itself(backend: &str) {
    let job = Job::on(backend);
    let ended = job
        .run(&["--best-effort", "--pids", "50", "--memory", "512M"], &["cat", "/proc/self/cgroup"]);
    let ended = ended.expect(0);
    let below = format!("/{}", job.name());
    let mut entered = 0;
    for line in ended.stdout.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next().expect("it has a field of controllers");
        let Some(home) = fields.next().and_then(|path| path.strip_suffix(&below)) else { continue };
        let first = controllers.split(',').next().unwrap_or_default();
        let ours = traces::group_of(std::process::id().cast_signed(), first);
        let ours = ours.expect("we are in every hierarchy");
        assert_eq!(home, ours.trim_end_matches('/'), "{controllers}: {}", ended.stdout);
        entered += 1;
    }
    assert!(entered >= 1, "it is nowhere: {}", ended.stdout);
}

pub(crate) fn k37_figures_of_a_name_that_is_used_again_are_its_own(backend: &str) {
    let job = Job::on(backend);
    let cpu = |script: &str| {
        let ended = job.sh(&[], script).expect(0);
        ended.report()["usage"]["cpu_seconds"].as_f64()
    };
    let first = cpu("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done").expect("it is measured");
    let second = cpu("exit 0").expect("it is measured");
    assert!(second < first / 2.0, "{second} after {first}");
}

pub(crate) fn k42_a_killed_group_runs_the_next_program_once(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend, job.name());
    let killed = exec(&job, job.name(), "exec sleep 1000.MARK");
    eventually("it sleeps", || sleepers(&job) == 1);
    contain(&job, &["kill", job.name()]).expect(0);
    killed.finish_unchecked().expect(137);
    exec(&job, job.name(), "echo ran >>DIR/ran; exit 3").finish_unchecked().expect(3);
    assert_eq!(job.text("ran"), "ran\n");
    // A group inside one that was killed.
    let inner = format!("{}/inner", job.name());
    create(&job, backend, &inner);
    exec(&job, &inner, "echo ran >>DIR/ran; exit 4").finish_unchecked().expect(4);
    assert_eq!(job.text("ran"), "ran\nran\n");
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
}

/// In a process namespace of its own, where nobody else takes a pid. `contain attach` is delayed between its look at
/// the process and the move; a stranger has the pid by then, and lives on outside of the group.
pub(crate) fn k20_who_got_the_pid_of_one_to_be_attached_is_let_go(backend: &str) {
    const SCRIPT: &str = r#"
        sleep 1000.$MARK & pid=$!
        procs=$(find /sys/fs/cgroup -type d -name "$NAME" | head -n 1)/cgroup.procs
        strace -D -f -qq -o /dev/null -P "$procs" -e inject=write:delay_enter=1000000 \
            "$CONTAIN" attach "$NAME" $pid & contain=$!
        until grep -qE '^(1|64) ' /proc/$contain/syscall; do kill -0 $contain || exit 9; done
        kill -KILL $pid; wait $pid
        echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
        sleep 1001.$MARK & stranger=$!
        wait $contain; echo "$((stranger - pid)) $?"
        "$CONTAIN" rm "$NAME"; echo "$?"
        kill -KILL $stranger"#;
    if !have("recycled-pid", &["strace", "unshare", "bash"]) {
        return;
    }
    let job = Job::on(backend);
    create(&job, backend, job.name());
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", SCRIPT]);
    command.env("CONTAIN", binary()).env("NAME", job.name()).env("MARK", job.mark());
    job.settle(&mut command);
    let said = command.output().expect("unshare can be run");
    let said = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert_eq!(said.0, "0 1\n0\n", "{}", said.1);
    assert!(said.1.contains("it has ended"), "{}", said.1);
    job.check_nothing_left();
}
