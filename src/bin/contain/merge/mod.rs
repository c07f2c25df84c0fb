//! `contain report`: the reports of many runs and nodes, merged into one.
//!
//! One report is held at a time; what is kept of it goes into totals, whose size is that of the nodes,
//! of the ways to end, and of a few lists of fixed length.

mod read;
mod shown;
mod totals;

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize as _;

use crate::cli::Merge;
use crate::{errors, exit};
use read::Report;
use totals::Totals;

/// Merges the reports; gives the exit status.
pub(crate) fn report(options: &Merge) -> u8 {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut totals = Totals::default();
    let printed = if options.json {
        as_json(&options.files, &mut totals, &mut out)
    } else {
        as_table(&options.files, &mut totals, &mut out)
    };
    if let Err(error) = printed.and_then(|()| out.flush()) {
        return errors::not_printed("the merged report", &error);
    }
    if totals.is_sound() { exit::DONE } else { exit::FAILED }
}

fn as_table(
    files: &[impl AsRef<Path>],
    totals: &mut Totals,
    out: &mut impl Write,
) -> io::Result<()> {
    for file in files {
        each(file.as_ref(), totals, |_| Ok(()))?;
    }
    write!(out, "{}", shown::for_a_person(totals))
}

/// Each run as it is read, on a line of its own; then what they come to, on another one.
fn as_json(
    files: &[impl AsRef<Path>],
    totals: &mut Totals,
    out: &mut impl Write,
) -> io::Result<()> {
    out.write_all(b"{\"version\":1,\"runs\":[")?;
    let mut separator = "\n";
    for file in files {
        each(file.as_ref(), totals, |report| {
            out.write_all(separator.as_bytes())?;
            separator = ",\n";
            let mut json = serde_json::Serializer::new(&mut *out);
            report.serialize(&mut json).map_err(io::Error::from)
        })?;
    }
    out.write_all(b"\n],\n")?;
    let rest = serde_json::to_string(&shown::Rest::of(totals)).map_err(io::Error::from)?;
    // Its fields go on in the object that was begun above.
    writeln!(out, "{}", rest.trim_start_matches('{'))
}

/// Counts every report in a file and gives it to `print`. What cannot be read is told on a line of its
/// own; a failure to print is the only error.
fn each(
    file: &Path,
    totals: &mut Totals,
    mut print: impl FnMut(&Report) -> io::Result<()>,
) -> io::Result<()> {
    for report in read::reports(file) {
        match report {
            Ok(report) => {
                print(&report)?;
                totals.add(&report);
            }
            Err(message) => {
                errors::print_line(&message);
                totals.add_error(message);
            }
        }
    }
    Ok(())
}
