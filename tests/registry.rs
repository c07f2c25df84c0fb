//! The registry as a library: names are reserved, claims are read back, and nothing is believed that
//! somebody else could have written (K50, K51).

#[path = "support/must_run.rs"]
mod must_run;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use containment::registry::{Claim, Owner, Process, Registry, Tenure};
use containment::{Backend, ErrorKind, GroupName, Identity, Operation};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

fn open(directory: &TempDir) -> Registry {
    Registry::open(Some(directory.path())).expect("it is ours")
}

fn name(text: &str) -> GroupName {
    text.parse().expect("it is a name")
}

fn claim(registry: &Registry, text: &str, tenure: Tenure) -> Claim {
    registry.claim(&name(text), Backend::CgroupV2, None, tenure).expect("it is free")
}

/// The only file in it whose name begins so.
fn file(directory: &Path, prefix: &str) -> PathBuf {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn what_is_claimed_is_on_record_until_it_is_released() {
    let (directory, wanted) = (directory(), name("ci/build-42"));
    let registry = open(&directory);
    let mut claimed = claim(&registry, "ci/build-42", Tenure::Owner);
    claimed.identify(Identity::Cgroup(77)).unwrap();
    let entry = open(&directory).entry(&wanted).unwrap().expect("it is on record");
    assert_eq!(&entry, claimed.entry());
    assert_eq!(entry.id().unwrap().to_string(), "cgroup-v2.77");
    assert_eq!(registry.owner(&entry).unwrap(), Owner::Alive);
    claimed.release().unwrap();
    assert_eq!(registry.entry(&wanted).unwrap(), None);
    assert!(registry.entries().unwrap().is_empty());
    registry.close().unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_name_is_given_once() {
    let directory = directory();
    let registry = open(&directory);
    let first = claim(&registry, "job", Tenure::Owner);
    let taken = registry.claim(&name("job"), Backend::CgroupV1, None, Tenure::Owner);
    let error = taken.unwrap_err();
    assert_eq!((error.kind(), error.group()), (ErrorKind::AlreadyExists, Some("job")));
    assert!(error.remedy().unwrap().contains("another name"), "{error:?}");
    first.release().unwrap();
    claim(&registry, "job", Tenure::Owner).release().unwrap();
}

/// Names that a file system could confuse are different files.
#[test]
fn names_are_told_apart_however_long_they_are() {
    let directory = directory();
    let registry = open(&directory);
    let long = |end: &str| format!("{}/{}{end}", "a".repeat(250), "b".repeat(200));
    let names = [
        "a/b".to_owned(),
        "a%2fb".to_owned(),
        "a b".to_owned(),
        "ä".to_owned(),
        long("1"),
        long("2"),
    ];
    let claims: Vec<_> = names.iter().map(|name| claim(&registry, name, Tenure::Lasting)).collect();
    for text in &names {
        let entry = registry.entry(&name(text)).unwrap().expect("it is on record");
        assert_eq!(entry.name.as_str(), text);
    }
    assert_eq!(registry.entries().unwrap().len(), names.len());
    for claim in claims {
        claim.release().unwrap();
    }
}

#[test]
fn a_group_without_an_owner_is_nobodys() {
    let directory = directory();
    let registry = open(&directory);
    let lasting = claim(&registry, "job", Tenure::Lasting);
    assert_eq!(registry.owner(lasting.entry()).unwrap(), Owner::None);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no lock is needed for it");
}

/// K51: an owner of an earlier boot is dead, whoever has its pid now.
#[test]
fn k51_an_owner_of_another_boot_or_another_start_is_dead() {
    let directory = directory();
    let registry = open(&directory);
    let claimed = claim(&registry, "job", Tenure::Owner);
    let mut entry = claimed.entry().clone();
    assert_eq!(registry.owner(&entry).unwrap(), Owner::Alive);
    let owner = entry.owner.unwrap();
    entry.owner = Some(Process { started: owner.started + 1, ..owner });
    assert_eq!(registry.owner(&entry).unwrap(), Owner::Dead);
    entry.owner = Some(owner);
    entry.boot = "00000000-0000-0000-0000-000000000000".to_owned();
    assert_eq!(registry.owner(&entry).unwrap(), Owner::Dead);
}

/// A process may have a registry open twice; what it owns by the one is not given up with the other.
#[test]
fn a_registry_that_is_dropped_takes_no_lock_of_another_with_it() {
    let directory = directory();
    let (first, second) = (open(&directory), open(&directory));
    let claimed = claim(&first, "first", Tenure::Owner);
    let other = claim(&second, "second", Tenure::Owner);
    other.release().unwrap();
    drop(second);
    let lock = file(directory.path(), "owner-");
    // A process does not meet its own locks; the kernel lists them.
    let inode = fs::metadata(lock).unwrap().ino();
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let ours = format!("{}", std::process::id());
    let is_ours = |line: &str| {
        line.contains("POSIX")
            && line.split_whitespace().any(|word| word == ours)
            && line.contains(&format!(":{inode} "))
    };
    assert!(locks.lines().any(is_ours), "{locks}");
    claimed.release().unwrap();
}

#[test]
fn a_dead_owners_name_is_told_to_be_one() {
    let directory = directory();
    let registry = open(&directory);
    let _claimed = claim(&registry, "job", Tenure::Owner);
    let path = file(directory.path(), "group-");
    let text = fs::read_to_string(&path).unwrap();
    let own = format!("\"pid\": {}", std::process::id());
    fs::write(&path, text.replace(&own, "\"pid\": 1")).unwrap();
    let error = registry.claim(&name("job"), Backend::CgroupV2, None, Tenure::Owner).unwrap_err();
    assert!(error.remedy().unwrap().contains("contain gc"), "{error:?}");
}

#[test]
fn an_entry_of_another_version_is_refused_and_the_others_are_read() {
    let directory = directory();
    let registry = open(&directory);
    let _kept = claim(&registry, "kept", Tenure::Lasting);
    let path = file(directory.path(), "group-");
    let text = fs::read_to_string(&path).unwrap().replace("\"version\": 1", "\"version\": 99");
    fs::write(directory.path().join("group-other"), text).unwrap();
    let entries = registry.entries().unwrap();
    let (read, refused): (Vec<_>, Vec<_>) = entries.into_iter().partition(Result::is_ok);
    assert_eq!(read[0].as_ref().unwrap().name.as_str(), "kept");
    let error = refused[0].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, Operation::Register));
    assert!(error.to_string().contains("version 99"), "{error}");
}

fn refused(path: &Path) -> ErrorKind {
    let error = Registry::open(Some(path)).unwrap_err();
    assert_eq!(error.operation(), Operation::Register);
    assert!(error.remedy().unwrap().contains("--state-dir"), "{error:?}");
    error.kind()
}

#[test]
fn k50_a_directory_that_others_could_write_to_is_refused() {
    let directory = directory();
    for mode in [0o777, 0o770, 0o702] {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(refused(directory.path()), ErrorKind::PermissionDenied, "{mode:o}");
    }
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    open(&directory);
    let link = directory.path().join("link");
    symlink(directory.path(), &link).unwrap();
    refused(&link);
    let plain = directory.path().join("file");
    fs::write(&plain, "").unwrap();
    refused(&plain);
    refused(Path::new("/proc/none/contain"));
}

#[test]
fn k50_a_directory_or_an_entry_of_another_user_is_refused() {
    let directory = directory();
    let registry = open(&directory);
    let _claimed = claim(&registry, "job", Tenure::Lasting);
    let path = file(directory.path(), "group-");
    if chown(&path, Some(65534), None).is_err() {
        return must_run::skip("root", &"only root can give files away");
    }
    assert!(registry.entry(&name("job")).is_err(), "an entry that somebody else wrote");
    assert!(registry.entries().unwrap()[0].is_err());
    chown(directory.path(), Some(65534), None).unwrap();
    assert_eq!(refused(directory.path()), ErrorKind::PermissionDenied);
    chown(directory.path(), Some(0), None).unwrap();
}

#[test]
fn k50_links_and_pipes_in_it_are_not_followed() {
    let directory = directory();
    let registry = open(&directory);
    let elsewhere = directory.path().join("elsewhere");
    let claimed = claim(&registry, "job", Tenure::Lasting);
    let entry = file(directory.path(), "group-");
    fs::rename(&entry, &elsewhere).unwrap();
    symlink(&elsewhere, &entry).unwrap();
    assert!(registry.entry(&name("job")).is_err());
    assert!(registry.entries().unwrap()[0].is_err());
    // What is released is the link.
    claimed.release().unwrap();
    assert!(elsewhere.exists());
}

/// Somebody struck it off, and another group has the name.
#[test]
fn what_is_released_or_noted_late_is_not_the_entry_of_a_namesake() {
    let directory = directory();
    let registry = open(&directory);
    let mut first = claim(&registry, "job", Tenure::Lasting);
    registry.forget(&name("job")).unwrap();
    let second = claim(&registry, "job", Tenure::Lasting);
    let text = || fs::read(file(directory.path(), "group-")).unwrap();
    let before = text();
    let late = first.identify(Identity::Cgroup(7)).unwrap_err();
    assert_eq!(late.errno(), Some(rustix::io::Errno::NOENT.raw_os_error()));
    first.release().unwrap();
    assert_eq!(text(), before);
    second.release().unwrap();
    assert!(registry.entries().unwrap().is_empty());
}

#[test]
fn what_dead_processes_left_is_tidied_away_and_nothing_else() {
    let directory = directory();
    let registry = open(&directory);
    let _claimed = claim(&registry, "job", Tenure::Owner);
    let lock = file(directory.path(), "owner-");
    for name in ["owner-1-1", ".new-999999999-0", "stranger"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    registry.tidy().unwrap();
    let is_there = |name: &str| directory.path().join(name).exists();
    assert!(!is_there("owner-1-1") && !is_there(".new-999999999-0"));
    assert!(is_there("stranger") && lock.exists());
    file(directory.path(), "group-");
}

/// A `gc` of another run must not take away the file between its making and its locking: whoever locks a file
/// that bears no name any more would be taken for dead, and its group be ended.
#[test]
fn a_lock_that_its_owner_is_about_to_take_is_not_tidied_away() {
    let directory = directory();
    let registry = open(&directory);
    let mut owner = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let pid = containment::Pid::new(i32::try_from(owner.id()).unwrap()).unwrap();
    let started = containment_process::proc::Stat::read(pid).unwrap().unwrap().started;
    let lock = directory.path().join(format!("owner-{pid}-{started}"));
    fs::write(&lock, "").unwrap();
    registry.tidy().unwrap();
    let was_there = lock.exists();
    owner.kill().unwrap();
    // A zombie takes no lock any more.
    rustix::process::waitid(
        rustix::process::WaitId::Pid(rustix::process::Pid::from_child(&owner)),
        rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
    )
    .unwrap();
    registry.tidy().unwrap();
    let is_there = lock.exists();
    owner.wait().unwrap();
    assert!(was_there && !is_there, "before its end {was_there}, after it {is_there}");
}

#[test]
fn a_full_or_read_only_directory_is_an_error_that_names_it() {
    let directory = directory();
    let registry = open(&directory);
    let gone = directory.path().to_owned();
    drop(directory);
    let error = registry.claim(&name("job"), Backend::CgroupV2, None, Tenure::Lasting).unwrap_err();
    assert_eq!(error.operation(), Operation::Register);
    assert!(error.path().unwrap().starts_with(&gone), "{error:?}");
}
