//! K39: Ctrl-C, Ctrl-\, Ctrl-Z and `fg` act under `contain` as they do without it.

mod support;

use support::backends::on_each_backend;
use support::job::Job;
use support::terminal::{CTRL_BACKSLASH, CTRL_C, CTRL_Z, Terminal};
use support::{eventually, traces};

on_each_backend!(
    k39_ctrl_c_is_the_programs_own,
    k39_ctrl_c_ends_a_program_that_does_not_mind,
    k39_ctrl_backslash_ends_it_too,
    k39_ctrl_z_stops_and_fg_continues,
    k39_a_background_job_that_reads_is_stopped,
    k39_other_programs_of_a_pipeline_are_not_touched,
    k39_a_session_leader_is_not_stopped_by_ctrl_z,
    k39_a_hangup_ends_the_group,
);

/// The words before a program: none, and `contain run`.
fn both(backend: &str, job: &Job) -> [String; 2] {
    let binary = support::binary();
    let options = format!("--backend {backend} --name {} --grace 5s", job.name());
    [String::new(), format!("{} run {options} -- ", binary.display())]
}

/// The same before a shell, and after it what it says of the status.
fn on_each_way(backend: &str, scene: fn(&mut Terminal, &str, &Job)) {
    let job = Job::on(backend);
    for way in both(backend, &job) {
        let mut terminal = Terminal::with_shell(&job);
        scene(&mut terminal, &way, &job);
        terminal.types("exit 0\n");
        assert!(terminal.finish().success(), "{way}");
        eventually("nothing is left", || traces::groups_called(job.name()).is_empty());
    }
}

fn k39_ctrl_c_is_the_programs_own(backend: &str) {
    on_each_way(backend, |terminal, way, _| {
        let program =
            "trap 'echo TRAP''PED; exit 7' INT; echo ru''ns; while :; do sleep 0.01; done";
        terminal.types(&format!("{way}sh -c \"{program}\"\n"));
        terminal.expect("runs");
        terminal.types(CTRL_C);
        terminal.expect("TRAPPED");
        terminal.types("echo status=$?\n");
        terminal.expect("status=7");
    });
}

fn k39_ctrl_c_ends_a_program_that_does_not_mind(backend: &str) {
    on_each_way(backend, |terminal, way, _| {
        terminal.types(&format!("{way}sh -c 'echo ru\"n\"s; exec sleep 1000'\n"));
        terminal.expect("runs");
        terminal.types(CTRL_C);
        terminal.expect("READY> ");
        terminal.types("echo status=$?\n");
        terminal.expect("status=130");
    });
}

fn k39_ctrl_backslash_ends_it_too(backend: &str) {
    on_each_way(backend, |terminal, way, _| {
        terminal.types(&format!("ulimit -c 0; {way}sh -c 'echo ru\"n\"s; exec sleep 1000'\n"));
        terminal.expect("runs");
        terminal.types(CTRL_BACKSLASH);
        terminal.expect("READY> ");
        terminal.types("echo status=$?\n");
        terminal.expect("status=131");
    });
}

fn k39_ctrl_z_stops_and_fg_continues(backend: &str) {
    on_each_way(backend, |terminal, way, _| {
        let program = "echo ru\"n\"s; read line; echo \"got $line\"; exit 5";
        terminal.types(&format!("{way}sh -c '{program}'\n"));
        terminal.expect("runs");
        for _ in 0..2 {
            terminal.types_until(CTRL_Z, "Stopped");
            terminal.expect("READY> ");
            terminal.types("fg\n");
            terminal.expect("sh -c");
        }
        terminal.types("hello\n");
        terminal.expect("got hello");
        terminal.expect("READY> ");
        terminal.types("echo status=$?\n");
        terminal.expect("status=5");
    });
}

fn k39_a_background_job_that_reads_is_stopped(backend: &str) {
    on_each_way(backend, |terminal, way, _| {
        terminal.types(&format!("{way}sh -c 'read line; echo \"got $line\"' &\n"));
        // SIGTTIN stops the job; the shell tells at its next prompt.
        terminal.types_until("\n", "Stopped");
        terminal.types("fg\n");
        terminal.expect("sh -c");
        terminal.types("hello\n");
        terminal.expect("got hello");
        terminal.expect("READY> ");
    });
}

fn k39_other_programs_of_a_pipeline_are_not_touched(backend: &str) {
    on_each_way(backend, |terminal, way, _| {
        terminal
            .types(&format!("(sleep 0.1; echo from the left) | {way}sh -c 'cat; exit 3' | cat\n"));
        terminal.expect("\nfrom the left");
        terminal.expect("READY> ");
    });
}

/// Nobody could continue it: the kernel discards what would stop it.
fn k39_a_session_leader_is_not_stopped_by_ctrl_z(backend: &str) {
    let job = Job::on(backend);
    for way in both(backend, &job) {
        let script =
            format!("exec {way}sh -c 'echo ru\"n\"s; read line; echo \"got $line\"; exit 5'");
        let mut terminal = Terminal::with(&job, &["sh", "-c", &script]);
        terminal.expect("runs");
        terminal.types(CTRL_Z);
        terminal.types("hello\n");
        terminal.expect("got hello");
        assert_eq!(terminal.finish().code(), Some(5), "{way}");
    }
    job.check_nothing_left();
}

/// The terminal is closed: the shell hangs up its job.
fn k39_a_hangup_ends_the_group(backend: &str) {
    let job = Job::on(backend);
    let [_, contain] = both(backend, &job);
    let mut terminal = Terminal::with_shell(&job);
    let program = job.script("echo ru\"n\"s; setsid sleep 1000.MARK & exec sleep 1001.MARK");
    terminal.types(&format!("{contain}sh -c '{program}'\n"));
    terminal.expect("runs");
    drop(terminal);
    eventually("nothing is left", || {
        job.processes().is_empty() && traces::groups_called(job.name()).is_empty()
    });
}
