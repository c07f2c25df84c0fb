//! The options that set PROGRAM apart from its host.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use containment::{Bind, Error, Operation, Program, Result, Rlimit, find_user};

use crate::cli::{Concern, Given};
use crate::values::number;

// No documentation: it would become the subcommand's.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Isolation")]
pub(crate) struct IsolationOptions {
    /// Run PROGRAM as this user and group, names or ids [default group: the user's, with its others]
    #[arg(long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Limit a resource of each process: nofile=1024:4096, core=0, stack=max
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = rlimit)]
    rlimit: Vec<Rlimit>,
    /// Let no exec gain privileges
    #[arg(long)]
    no_new_privileges: bool,
    /// Run PROGRAM with this root directory; /proc, /sys and /dev are bound where it has places
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Bind a file or directory below PROGRAM's root, to read and write
    #[arg(long, value_name = "SRC[:DST]", value_parser = bind_parser(true))]
    bind: Vec<Bind>,
    /// The same, to read only
    #[arg(long, value_name = "SRC[:DST]", value_parser = bind_parser(false))]
    bind_ro: Vec<Bind>,
    /// Let nobody leave the group, root included
    #[arg(long)]
    pub(crate) seal: bool,
}

impl Concern for IsolationOptions {
    fn set(&mut self, option: &mut Given<'_>) -> Option<()> {
        match option.name() {
            "user" => self.user = Some(option.text()?.to_owned()),
            "rlimit" => self.rlimit.push(option.read(rlimit)?),
            "no-new-privileges" => self.no_new_privileges = option.flag()?,
            "root" => self.root = Some(option.path()?),
            "bind" => self.bind.push(bind(option.value()?, true).ok()?),
            "bind-ro" => self.bind_ro.push(bind(option.value()?, false).ok()?),
            "seal" => self.seal = option.flag()?,
            _ => return None,
        }
        Some(())
    }
}

impl IsolationOptions {
    /// Sets `program` apart, but for the seal: that is for whoever chooses the backend.
    pub(crate) fn apply(&self, mut program: Program) -> Result<Program> {
        if let Some(user) = &self.user {
            program = program.user(find_user(user)?);
        }
        for limit in &self.rlimit {
            program = program.rlimit(*limit);
        }
        if self.no_new_privileges {
            program = program.no_new_privileges();
        }
        if let Some(root) = &self.root {
            program = program.root_directory(root);
        }
        for bind in self.binds()? {
            program = program.bind(bind);
        }
        Ok(program)
    }

    /// From the outer places to the inner ones; of two at the same depth the read-only one is made last.
    fn binds(&self) -> Result<Vec<Bind>> {
        let complete = |bind: &Bind| {
            let mut bind = bind.clone();
            if bind.target.as_os_str().is_empty() {
                bind.target = std::path::absolute(&bind.source)
                    .map_err(|error| Error::from_io(Operation::Spawn, &error))?;
            }
            Ok(bind)
        };
        let mut binds: Vec<Bind> =
            self.bind.iter().chain(&self.bind_ro).map(complete).collect::<Result<_>>()?;
        binds.sort_by_key(|bind| bind.target.components().count());
        Ok(binds)
    }
}

fn bind_parser(writable: bool) -> impl TypedValueParser<Value = Bind> {
    OsStringValueParser::new()
        .try_map(move |text: OsString| bind(&text, writable).map_err(std::io::Error::other))
}

/// `SRC:DST` at the first colon; without one the place is the source's own path.
fn bind(text: &OsStr, writable: bool) -> std::result::Result<Bind, String> {
    let bytes = text.as_bytes();
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    let (source, target) = match bytes.iter().position(|byte| *byte == b':') {
        Some(at) => (path(&bytes[..at]), Some(path(&bytes[at + 1..]))),
        None => (path(bytes), None),
    };
    if source.as_os_str().is_empty() || target.as_deref().is_some_and(|path| !path.is_absolute()) {
        return Err("expected SRC or SRC:DST, with DST an absolute path".to_owned());
    }
    let target = target.as_deref().unwrap_or(Path::new(""));
    Ok(Bind { source, target: target.to_owned(), writable })
}

/// `NAME=SOFT:HARD`, or one value for both.
fn rlimit(text: &str) -> std::result::Result<Rlimit, String> {
    let (name, values) = text.split_once('=').ok_or("expected NAME=SOFT[:HARD]")?;
    let resource = name.parse().map_err(|error: containment::UnknownResource| error.to_string())?;
    let value = |text: &str| match text {
        "max" => Ok(None),
        _ => number(text).map(Some).ok_or_else(|| "expected a number or max".to_owned()),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (value(soft)?, value(hard)?);
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        return Err("the soft limit is above the hard one".to_owned());
    }
    Ok(Rlimit { resource, soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;
    use containment::Resource;

    #[test]
    fn a_bind_has_a_source_and_maybe_a_place() {
        let read = |text: &str| bind(OsStr::new(text), true);
        assert_eq!(read("/a:/b"), Ok(Bind::writable("/a", "/b")));
        assert_eq!(read("a"), Ok(Bind::writable("a", "")));
        for text in ["", ":/b", "/a:", "/a:b"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn binds_are_made_from_the_outside_in() {
        let options = IsolationOptions {
            bind: vec![Bind::writable("/x", "/a/b")],
            bind_ro: vec![Bind::read_only("/y", "/a"), Bind::read_only("/z", "")],
            ..IsolationOptions::default()
        };
        let targets: Vec<_> =
            options.binds().unwrap().into_iter().map(|bind| bind.target).collect();
        assert_eq!(targets, [Path::new("/a"), Path::new("/z"), Path::new("/a/b")]);
    }

    #[test]
    fn a_resource_limit_has_one_value_or_two() {
        let read = |text| rlimit(text).map(|limit| (limit.resource, limit.soft, limit.hard));
        assert_eq!(read("nofile=5"), Ok((Resource::Files, Some(5), Some(5))));
        assert_eq!(read("core=0:max"), Ok((Resource::Core, Some(0), None)));
        assert_eq!(read("stack=max"), Ok((Resource::Stack, None, None)));
        for text in
            ["nofile", "nofile=+5", "nofile=", "nofile=x", "nofile=5:4", "nofile=max:4", "files=5"]
        {
            assert!(rlimit(text).is_err(), "{text:?}");
        }
    }
}
