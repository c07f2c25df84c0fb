//! Users and groups by name or id, as the host's name services know them.
//!
//! `getent` is asked, since a static binary has no way of its own to what nsswitch.conf(5) names; where
//! there is none, the C library, which then reads `/etc/passwd` and `/etc/group`.

use std::ffi::CString;
use std::io::{self, Read};

use containment_core::{Error, ErrorKind, Operation, Program, Result, Stream, User};
use nix::unistd::{Gid, Uid};

use crate::spawn::{Entry, Failure, Launch, Memory, Step, spawn};

/// The user `USER` or `USER:GROUP`, each by name or id, with the supplementary groups that a login
/// would give. Without `GROUP` it is the user's own; an id without an entry needs one.
///
/// ```
/// use containment_process::users;
/// let user = users::find("4711:4712")?;
/// assert_eq!((user.uid, user.gid, user.groups), (4711, 4712, vec![4712]));
/// assert!(users::find("no such user").is_err());
/// # Ok::<(), containment_core::Error>(())
/// ```
///
/// # Errors
/// [`InvalidInput`](ErrorKind::InvalidInput) for one that does not exist.
pub fn find(text: &str) -> Result<User> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let gid = group.map(find_group).transpose()?;
    match (account(user)?, number(user), gid) {
        (Some(account), _, gid) => {
            let gid = gid.unwrap_or(account.gid);
            let groups = groups(&account.name, gid)?;
            Ok(User { uid: account.uid, gid, groups })
        }
        (None, Some(uid), Some(gid)) => Ok(User { uid, gid, groups: vec![gid] }),
        (None, Some(_), None) => Err(unknown("user has no entry", user).advise("say USER:GROUP")),
        (None, None, _) => Err(unknown("no such user", user).advise("see getent passwd")),
    }
}

/// An entry of the user database.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

fn account(user: &str) -> Result<Option<Account>> {
    if !is_name(user) {
        return Ok(None);
    }
    let key = user.trim_start_matches('+');
    match ask(&["passwd", key])? {
        Answer::Lines(text) => Ok(text.lines().next().and_then(parse_account)),
        Answer::NobodyToAsk => {
            let found = match number(user) {
                Some(uid) => nix::unistd::User::from_uid(Uid::from_raw(uid)),
                None => nix::unistd::User::from_name(key),
            };
            let found = found.map_err(|errno| failed(&errno.into()))?;
            Ok(found.map(|it| Account {
                name: it.name,
                uid: it.uid.as_raw(),
                gid: it.gid.as_raw(),
            }))
        }
    }
}

fn find_group(group: &str) -> Result<u32> {
    let key = group.trim_start_matches('+');
    let found = match is_name(group).then(|| ask(&["group", key])).transpose()? {
        None => None,
        Some(Answer::Lines(text)) => text.lines().next().and_then(parse_group),
        Some(Answer::NobodyToAsk) => {
            let found =
                nix::unistd::Group::from_name(key).map_err(|errno| failed(&errno.into()))?;
            found.map(|group| group.gid.as_raw())
        }
    };
    let gid = found.or_else(|| number(group));
    gid.ok_or_else(|| unknown("no such group", group).advise("see getent group"))
}

/// The groups that initgroups(3) would set, the primary one first.
fn groups(name: &str, gid: u32) -> Result<Vec<u32>> {
    let further = match ask(&["initgroups", name])? {
        Answer::Lines(text) => text.lines().next().and_then(|line| parse_groups(line, name)),
        Answer::NobodyToAsk => None,
    };
    let mut groups = vec![gid];
    match further {
        Some(further) => groups.extend(further),
        // There is no getent, or one that does not know this database.
        None => groups.extend(listed_groups(name, gid)?),
    }
    let mut seen = std::collections::BTreeSet::new();
    groups.retain(|gid| seen.insert(*gid));
    Ok(groups)
}

fn listed_groups(name: &str, gid: u32) -> Result<Vec<u32>> {
    let name = CString::new(name).map_err(|error| failed(&error.into()))?;
    let groups = nix::unistd::getgrouplist(&name, Gid::from_raw(gid));
    let groups = groups.map_err(|errno| failed(&errno.into()))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

/// `name:password:uid:gid:…` of passwd(5).
fn parse_account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Account { name, uid, gid })
}

/// `name:password:gid:…` of group(5).
fn parse_group(line: &str) -> Option<u32> {
    line.split(':').nth(2)?.parse().ok()
}

/// `name gid gid…`, as getent(1) prints its `initgroups`.
fn parse_groups(line: &str, name: &str) -> Option<Vec<u32>> {
    let mut words = line.split_whitespace();
    if words.next()? != name {
        return None;
    }
    words.map(|word| word.parse().ok()).collect()
}

/// An id; a `+` before it is allowed, as coreutils do.
fn number(text: &str) -> Option<u32> {
    // The last one means "unchanged" to the system calls.
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// Whether a database may be asked for it: an option or a line of its own is no name.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && !text.contains([':', '\n', '\0'])
}

#[derive(Debug)]
enum Answer {
    Lines(String),
    NobodyToAsk,
}

/// What `getent` prints; nothing for what it does not find.
fn ask(question: &[&str]) -> Result<Answer> {
    let (mut reader, writer) = io::pipe().map_err(|error| failed(&error))?;
    let getent = Program::new("getent")
        .args(question)
        .stdin(Stream::Null)
        .stdout(writer)
        .stderr(Stream::Null);
    let launch = Launch {
        program: &getent,
        entry: Entry::Nowhere,
        process_group: None,
        mark: None,
        frozen: None,
        memory: Memory::Share,
    };
    let process = match spawn(&launch) {
        Ok(process) => process,
        Err(Failure::Step(Step::Exec, _)) => return Ok(Answer::NobodyToAsk),
        Err(failure) => return Err(failure.into_error(&getent)),
    };
    drop(getent);
    let mut text = String::new();
    let read = reader.read_to_string(&mut text);
    // Its status says no more than its output, and is lost where SIGCHLD is ignored.
    process.wait().map_err(|error| failed(&error))?;
    read.map_err(|error| failed(&error))?;
    Ok(Answer::Lines(text))
}

fn unknown(what: &str, name: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Spawn).because(format!("{what}: {name:?}"))
}

fn failed(error: &io::Error) -> Error {
    Error::from_io(Operation::Spawn, error).because("cannot look up its user")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_id() {
        let root = find("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(root.groups.first(), Some(&0));
        assert_eq!(find("0").unwrap(), root);
        assert_eq!(find("+0").unwrap(), root);
        assert_eq!(find("root:12345").unwrap().gid, 12345);
    }

    #[test]
    fn who_is_not_there_is_named() {
        for (text, name) in
            [("nobody2", "nobody2"), ("root:nogroup2", "nogroup2"), ("-x", "-x"), ("", "\"\"")]
        {
            let error = find(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(find("4294967295:0").is_err());
    }

    #[test]
    fn an_id_without_an_entry_needs_a_group() {
        assert!(find("3999999").unwrap_err().remedy().is_some());
        let user = find("3999999:7").unwrap();
        assert_eq!(user, User { uid: 3_999_999, gid: 7, groups: vec![7] });
    }

    #[test]
    fn lines_of_the_databases_are_read() {
        let account = parse_account("alice:x:1000:100:A,,,:/home/alice:/bin/sh").unwrap();
        assert_eq!(account, Account { name: "alice".into(), uid: 1000, gid: 100 });
        assert_eq!(parse_group("audio:x:29:alice,bob"), Some(29));
        assert_eq!(parse_groups("alice                 29 44", "alice"), Some(vec![29, 44]));
        assert_eq!(parse_groups("alice", "alice"), Some(vec![]));
        for line in ["", "alice", "alice:x:1000", "alice:x:a:b", ":::"] {
            assert_eq!(parse_account(line), None, "{line:?}");
        }
        assert_eq!(parse_groups("bob 29", "alice"), None);
        assert_eq!(parse_groups("alice x", "alice"), None);
    }

    #[test]
    fn without_getent_the_files_are_read() {
        assert_eq!(listed_groups("root", 7).unwrap().first(), Some(&7));
    }
}
