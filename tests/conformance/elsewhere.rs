//! The suite once more in other circumstances: as an unprivileged user in a subtree that was delegated
//! to it, and with few descriptors. Each is one result, and prints the count of what was played in it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Completion, Failed, Trial};
use tempfile::TempDir;

use crate::backends;

/// Tells a suite that it is played elsewhere already.
const ELSEWHERE: &str = "CONFORMANCE_ELSEWHERE";
/// The user that the unprivileged suite is played by.
const NOBODY: u32 = 65534;

/// The suites elsewhere; none within one of them.
pub(crate) fn trials() -> Vec<Trial> {
    if std::env::var_os(ELSEWHERE).is_some() {
        return Vec::new();
    }
    vec![
        Trial::ignorable_test("unprivileged::every-case", unprivileged),
        Trial::ignorable_test("1024-descriptors::every-case", few_descriptors),
    ]
}

fn few_descriptors() -> Result<Completion, Failed> {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 1024 && exec \"$@\"", "sh"]).arg(std::env::current_exe()?);
    play("1024 descriptors", &mut command)
}

/// Whoever delegates makes a group in every hierarchy, gives it away, and places the user inside.
fn unprivileged() -> Result<Completion, Failed> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return skip("only root can delegate a subtree and change the user");
    }
    let reachable = TempDir::new()?;
    fs::set_permissions(reachable.path(), fs::Permissions::from_mode(0o755))?;
    let binary = reachable.path().join("conformance");
    // Written by another process: a fork of another case's, holding it open, would make it busy.
    let copied = Command::new("cp").arg(std::env::current_exe()?).arg(&binary).status()?;
    if !copied.success() {
        return Err(format!("the suite cannot be copied: {copied}").into());
    }
    let delegated = Delegated::everywhere()?;
    let script =
        "while [ \"$1\" != -- ]; do echo 0 > \"$1\" || exit; shift; done; shift; exec \"$@\"";
    let user = NOBODY.to_string();
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).args(delegated.entries()).arg("--");
    command.args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]).arg(&binary);
    let played = play("unprivileged", command.env("TMPDIR", "/tmp").current_dir("/"));
    delegated.remove()?;
    played
}

fn skip(reason: &str) -> Result<Completion, Failed> {
    if super::must_run::demanded("unprivileged") {
        return Err(format!("must run here: {reason}").into());
    }
    Ok(Completion::ignored_with(reason))
}

/// Plays every case on real backends; what can be used here has to be usable there.
fn play(name: &str, command: &mut Command) -> Result<Completion, Failed> {
    let usable = backends::ALL.iter().filter(|backend| backend.capabilities().is_ok());
    let must_run: Vec<_> = usable.map(|backend| backend.name).collect();
    command.args(["--skip", "fake-", "--color", "never"]).env(ELSEWHERE, name);
    command.env("CONTAIN_MUST_RUN", must_run.join(",")).stdin(Stdio::null());
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {said}{errors}", output.status).into());
    }
    let count = said.lines().find(|line| line.starts_with("conformance: ")).ok_or("no count")?;
    println!("{name}: {count}");
    Ok(Completion::Completed)
}

/// A group in each hierarchy that belongs to the unprivileged user.
struct Delegated(Vec<PathBuf>);

impl Delegated {
    fn everywhere() -> Result<Self, Failed> {
        let name = format!("contain-delegated-{}", std::process::id());
        let mut delegated = Self(Vec::new());
        for own in own_groups()? {
            let group = own.join(&name);
            fs::create_dir(&group)?;
            delegated.0.push(group.clone());
            give_away(&own, &group)?;
        }
        Ok(delegated)
    }

    /// The files that move their writer in.
    fn entries(&self) -> impl Iterator<Item = PathBuf> {
        self.0.iter().map(|group| group.join("cgroup.procs"))
    }

    /// Fails where the user left a group in one.
    fn remove(&self) -> Result<(), Failed> {
        for group in &self.0 {
            fs::remove_dir(group).map_err(|error| format!("{}: {error}", group.display()))?;
        }
        Ok(())
    }
}

/// Our own group in each hierarchy that is mounted, without asking the code under test.
fn own_groups() -> Result<Vec<PathBuf>, Failed> {
    let memberships = fs::read_to_string("/proc/self/cgroup")?;
    let fields = memberships.lines().map(|line| line.splitn(3, ':').collect::<Vec<_>>());
    let paths: BTreeMap<_, _> = fields.map(|fields| (fields[1].to_owned(), fields[2])).collect();
    let mut own = Vec::new();
    for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        let (mount, source) = line.split_once(" - ").ok_or("mountinfo without a separator")?;
        let mount: Vec<_> = mount.split(' ').collect();
        let source: Vec<_> = source.split(' ').collect();
        let path = match source[0] {
            "cgroup2" => paths.get(""),
            "cgroup" => paths.iter().find(|(names, _)| is_of(names, source[2])).map(|it| it.1),
            _ => continue,
        };
        let below = path.and_then(|path| Path::new(path).strip_prefix(mount[3]).ok());
        own.extend(below.map(|below| Path::new(mount[4]).join(below)));
    }
    Ok(own)
}

/// Whether a mount with these options is the hierarchy of these controllers, or of this name.
fn is_of(names: &str, options: &str) -> bool {
    !names.is_empty()
        && names.split(',').all(|name| options.split(',').any(|option| option == name))
}

fn give_away(own: &Path, group: &Path) -> Result<(), Failed> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        // In version 1 a group starts without any.
        if group.join("tasks").exists() && group.join(file).exists() {
            fs::write(group.join(file), fs::read(own.join(file))?)?;
        }
    }
    let given = ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"];
    for file in given.iter().map(|file| group.join(file)).filter(|file| file.exists()) {
        chown(file, Some(NOBODY), Some(NOBODY))?;
    }
    Ok(())
}
