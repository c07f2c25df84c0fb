//! Most I/O per device: `blkio.throttle.*`, one file a rate, in which 0 lifts (kernel:
//! Documentation/admin-guide/cgroup-v1/blkio-controller.rst, "Throttling/Upper limit policy files").

use cgroups_rs::fs::blkio::BlkIoController;
use containment_core::{Device, IoMax, Most, Operation, Rate, Result};
use containment_process::cgroupfs::{no_disk, parse};

use super::write::Writer;

impl Writer<'_> {
    /// Sets the rates of one device that are asked for.
    pub(super) fn io_max(&self, device: Device, most: &IoMax) -> Result<()> {
        most.iter().try_for_each(|(rate, most)| self.io_rate(device, rate, most))
    }

    fn io_rate(&self, device: Device, rate: Rate, most: Most<u64>) -> Result<()> {
        let controller = BlkIoController::new(self.path(), self.path(), false);
        let (major, minor) = (device.major.into(), device.minor.into());
        let value = most.value().unwrap_or(0);
        let written = match rate {
            Rate::ReadBytes => controller.throttle_read_bps_for_device(major, minor, value),
            Rate::WriteBytes => controller.throttle_write_bps_for_device(major, minor, value),
            Rate::Reads => controller.throttle_read_iops_for_device(major, minor, value),
            Rate::Writes => controller.throttle_write_iops_for_device(major, minor, value),
        };
        let file = file(rate);
        self.write(file, written).map_err(|error| no_disk(error, device))?;
        let kept = self.dir.parse(file, parse::rates);
        let kept = kept.map_err(|failure| failure.during(Operation::SetLimits))?;
        let kept = kept.get(&device).map_or(Most::Lifted, |rate| Most::At(*rate));
        if kept == most { Ok(()) } else { Err(self.kept_another(file, &kept, &most)) }
    }
}

fn file(rate: Rate) -> &'static str {
    match rate {
        Rate::ReadBytes => "blkio.throttle.read_bps_device",
        Rate::WriteBytes => "blkio.throttle.write_bps_device",
        Rate::Reads => "blkio.throttle.read_iops_device",
        Rate::Writes => "blkio.throttle.write_iops_device",
    }
}
