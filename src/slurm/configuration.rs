//! `slurm.conf`: how long Slurm waits between SIGTERM and SIGKILL.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::variable;

/// Where nodes have it that were told nothing else: installed, or fetched from the controller.
const PLACES: [&str; 2] = ["/etc/slurm/slurm.conf", "/run/slurm/conf/slurm.conf"];
/// What holds where the file does not say (slurm.conf(5)).
const DEFAULT: Duration = Duration::from_secs(30);
/// An include includes itself at worst.
const DEPTH: usize = 8;

/// `KillWait`: the time between the SIGTERM and the SIGKILL that Slurm ends a step with. `None` where its
/// configuration cannot be read here.
pub fn kill_wait() -> Option<Duration> {
    let told = variable("SLURM_CONF").map(PathBuf::from);
    let places = told.into_iter().chain(PLACES.map(PathBuf::from));
    places
        .into_iter()
        .find_map(|file| in_file(&file, DEPTH).ok())
        .map(|wait| wait.unwrap_or(DEFAULT))
}

/// What the file says of it, if anything, the last time.
fn in_file(file: &Path, depth: usize) -> io::Result<Option<Duration>> {
    let text = std::fs::read_to_string(file)
        .inspect_err(|error| tracing::debug!(%error, file = %file.display(), "not read"))?;
    // A backslash continues a line; a hash begins a comment.
    let text = text.replace("\\\n", " ");
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut found = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some(word), Some(other)) if word.eq_ignore_ascii_case("include") && depth > 0 => {
                in_file(&file.parent()?.join(other), depth - 1).ok()?
            }
            _ => in_line(line),
        }
    });
    Ok(found.next_back())
}

/// A line holds settings as `Name=Value`, whose names are not case sensitive.
fn in_line(line: &str) -> Option<Duration> {
    line.split_whitespace().find_map(|setting| {
        let (name, value) = setting.split_once('=')?;
        let is_it = name.eq_ignore_ascii_case("KillWait");
        is_it.then(|| value.parse().ok().map(Duration::from_secs)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_setting_counts_wherever_it_stands() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("slurm.conf");
        let included = directory.path().join("more");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            in_file(&file, DEPTH).unwrap().map(|wait| wait.as_secs())
        };
        std::fs::write(&included, "KillWait=7\n").unwrap();
        assert_eq!(read("ClusterName=x\n"), None);
        assert_eq!(read("killwait=5 # KillWait=6\n# KillWait=7\n"), Some(5));
        assert_eq!(read("KillWait=5\nReturnToService=2 KILLWAIT=9\n"), Some(9));
        assert_eq!(read("ClusterName=x \\\nKillWait=4\n"), Some(4));
        assert_eq!(read("KillWait=5\nInclude more\n"), Some(7));
        assert_eq!(read("KillWait=5\nInclude slurm.conf\nInclude none\n"), Some(5), "it ends");
        assert_eq!(read("KillWait=soon\n"), None);
        assert!(in_file(&directory.path().join("none"), DEPTH).is_err());
    }
}
