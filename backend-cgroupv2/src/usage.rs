//! What a group used.

use std::time::Duration;

use containment_core::{Operation, Result, Usage};
use containment_process::cgroupfs::field;

use crate::group::V2Group;

impl V2Group {
    /// CPU time, which the kernel counts for every group without a controller (`cpu.stat`).
    pub(crate) fn read_usage(&self) -> Result<Usage> {
        let text = self.dir.read("cpu.stat");
        let text = text.map_err(|failure| self.error(failure.during(Operation::Usage)))?;
        let micros = |key| field(&text, key).map(Duration::from_micros);
        Ok(Usage {
            cpu: micros("usage_usec"),
            cpu_user: micros("user_usec"),
            cpu_system: micros("system_usec"),
            throttled_periods: field(&text, "nr_throttled"),
            throttled: micros("throttled_usec"),
            ..Usage::default()
        })
    }
}
