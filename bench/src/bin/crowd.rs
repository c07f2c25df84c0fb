//! `crowd N`: N processes that sleep until they are killed. It starts when it is told to (a byte on the
//! standard input), and tells the pids, its own first, when they are there. `crowd N kept`: the same in a process
//! group of its own, below the barest keeper, which adopts and reaps, and ends when nobody is left.

use std::error::Error;
use std::io::{Read as _, Write as _};

use bench::bare;
use rustix::process::{WaitOptions, getpid, set_child_subreaper, setpgid, wait};

fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(1).ok_or("how many?")?.parse()?;
    std::io::stdin().read_exact(&mut [0])?;
    if std::env::args().nth(2).is_some_and(|how| how == "kept") {
        set_child_subreaper(Some(getpid()))?;
        if bare::fork()?.is_some() {
            while wait(WaitOptions::empty()).is_ok() {}
            return Ok(());
        }
        setpgid(None, None)?;
    }
    let mut pids = Vec::with_capacity(4 * count);
    pids.extend(std::process::id().to_ne_bytes());
    for _ in 1..count {
        match bare::fork()? {
            Some(child) => pids.extend(child.as_raw_nonzero().get().to_ne_bytes()),
            None => bare::sleep_for_ever(),
        }
    }
    let mut output = std::io::stdout();
    output.write_all(&pids)?;
    output.flush()?;
    bare::sleep_for_ever()
}
