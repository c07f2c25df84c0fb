//! containment beside the bare system calls, and beside its peers. `just bench` runs it.

pub mod bare;
