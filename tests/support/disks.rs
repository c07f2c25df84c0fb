//! The disks of this host, of which some limit I/O.

use containment_core::Device;

/// The first whole one.
pub(crate) fn first() -> Option<Device> {
    let mut disks = std::fs::read_dir("/sys/block").ok()?;
    let text =
        disks.find_map(|disk| std::fs::read_to_string(disk.ok()?.path().join("dev")).ok())?;
    text.trim().parse().ok()
}
