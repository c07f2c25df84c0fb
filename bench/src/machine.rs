//! On what the figures were taken.

use std::fs;
use std::process::Command;

use containment_process::proc::mountinfo;
use serde::{Deserialize, Serialize};

use crate::measure::Result;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cpus: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub cgroups: String,
    pub compiler: String,
    pub commit: String,
    pub date: String,
}

impl Machine {
    pub fn this() -> Result<Self> {
        Ok(Self {
            cpu: field("/proc/cpuinfo", "model name")?,
            cpus: std::thread::available_parallelism()?.get(),
            memory_gib: field("/proc/meminfo", "MemTotal")?
                .trim_end_matches(" kB")
                .parse::<u64>()?
                >> 20,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            cgroups: cgroups()?,
            compiler: said("rustc", &["--version"])?,
            commit: said(
                "git",
                &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            )?,
            date: said("date", &["-u", "+%F"])?,
        })
    }
}

fn field(file: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(file)?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(key, _)| key.trim() == name);
    Ok(found.ok_or_else(|| format!("{file} has no {name}"))?.1.trim().to_owned())
}

/// The hierarchies that are mounted.
fn cgroups() -> Result<String> {
    let text = mountinfo::read()?;
    let count =
        |fs_type: &str| mountinfo::mounts(&text).filter(|mount| mount.is_type(fs_type)).count();
    Ok(match (count("cgroup2"), count("cgroup")) {
        (0, 0) => "none".to_owned(),
        (_, 0) => "version 2".to_owned(),
        (0, v1) => format!("version 1, {v1} hierarchies"),
        (_, v1) => {
            format!("hybrid: version 2 without controllers, and {v1} hierarchies of version 1")
        }
    })
}

fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("{program} {arguments:?} failed: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
