//! The CPUs of this machine, and how to deal them out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::{CpuSet, Error, ErrorKind, Operation, Result};

/// Which CPUs there are, and which of them are threads of one core.
///
/// ```
/// use containment_core::Topology;
/// let half = Topology::flat(&"0-3".parse()?).deal(2)?;
/// assert_eq!(half[0].to_string(), "0-1");
/// assert_eq!(half[1].to_string(), "2-3");
///
/// let ours = Topology::allowed()?;
/// assert!(ours.cpus().is_subset(&Topology::read()?.cpus()));
/// assert!(ours.cores().len() >= ours.packages().len());
/// let first = ours.cpus().iter().take(1).collect();
/// assert_eq!(ours.within(&first)?.cpus(), first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The cores, those of one package side by side.
    cores: Vec<Core>,
}

/// The CPUs that share a core, and the package that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Core {
    package: i32,
    cpus: CpuSet,
}

/// Where the kernel describes them (kernel: Documentation/admin-guide/cputopology.rst).
const SYSFS: &str = "/sys/devices/system/cpu";

impl Topology {
    /// The CPUs that are online. What the kernel does not tell about them is taken as it is on the
    /// simplest machine: each CPU a core, all cores in one package.
    ///
    /// Our own group may have fewer: see [`within`](Self::within) and [`allowed`](Self::allowed).
    ///
    /// # Errors
    /// When the kernel tells of no CPU at all.
    pub fn read() -> Result<Self> {
        Self::read_from(Path::new(SYSFS))
    }

    /// The CPUs that are online and that this thread may run on.
    ///
    /// # Errors
    /// As [`read`](Self::read), and when none is left.
    pub fn allowed() -> Result<Self> {
        let status = fs::read_to_string("/proc/thread-self/status");
        let status = status.map_err(|error| Error::from_io(Operation::Probe, &error))?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let online = Self::read()?;
        match list.and_then(|list| list.trim().parse().ok()) {
            Some(allowed) => online.within(&allowed),
            None => Ok(online),
        }
    }

    /// The same from another directory of that shape.
    ///
    /// ```
    /// use containment_core::Topology;
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// std::fs::write(directory.join("online"), "0-1\n")?;
    /// for cpu in ["cpu0", "cpu1"] {
    ///     let topology = directory.join(cpu).join("topology");
    ///     std::fs::create_dir_all(&topology)?;
    ///     std::fs::write(topology.join("core_id"), "0\n")?;
    /// }
    /// let threads_of_one_core = Topology::read_from(directory)?;
    /// assert_eq!(threads_of_one_core.cores().len(), 1);
    /// assert_eq!(threads_of_one_core.packages(), ["0-1".parse()?]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_from(directory: &Path) -> Result<Self> {
        let mut cores: BTreeMap<(i32, CoreKey), CpuSet> = BTreeMap::new();
        for cpu in online(directory).iter() {
            let fact = |file: &str| {
                let path = directory.join(format!("cpu{cpu}/topology/{file}"));
                let text = fs::read_to_string(path).ok()?;
                text.trim().parse::<i32>().ok().filter(|id| *id >= 0)
            };
            let core = fact("core_id").map_or(CoreKey::Alone(cpu), CoreKey::Numbered);
            let package = fact("physical_package_id").unwrap_or(0);
            cores.entry((package, core)).or_default().extend([cpu]);
        }
        let core = |((package, _), cpus)| Core { package, cpus };
        Self { cores: cores.into_iter().map(core).collect() }.unless_empty()
    }

    /// These CPUs, each of them a core, all in one package.
    pub fn flat(cpus: &CpuSet) -> Self {
        let core = |cpu| Core { package: 0, cpus: CpuSet::from_iter([cpu]) };
        Self { cores: cpus.iter().map(core).collect() }
    }

    /// The same without the CPUs that are not in `cpus`.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when none is left.
    pub fn within(mut self, cpus: &CpuSet) -> Result<Self> {
        for core in &mut self.cores {
            core.cpus = core.cpus.intersection(cpus);
        }
        self.cores.retain(|core| !core.cpus.is_empty());
        self.unless_empty()
    }

    /// All the CPUs.
    pub fn cpus(&self) -> CpuSet {
        self.cores.iter().flat_map(|core| core.cpus.iter()).collect()
    }

    /// The CPUs of each core.
    pub fn cores(&self) -> impl ExactSizeIterator<Item = &CpuSet> {
        self.cores.iter().map(|core| &core.cpus)
    }

    /// The CPUs of each package.
    pub fn packages(&self) -> Vec<CpuSet> {
        let mut packages: BTreeMap<i32, CpuSet> = BTreeMap::new();
        for core in &self.cores {
            packages.entry(core.package).or_default().extend(core.cpus.iter());
        }
        packages.into_values().collect()
    }

    /// Deals all the CPUs out in `sets` sets that have none in common, none empty and all about equal:
    /// whole cores as long as there are enough of them, neighbours together.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when `sets` is zero or more than there are CPUs.
    pub fn deal(&self, sets: usize) -> Result<Vec<CpuSet>> {
        let cpus = self.cpus().len();
        if sets == 0 || sets > cpus {
            return Err(Error::new(ErrorKind::InvalidInput, Operation::SetLimits)
                .because(format!("{cpus} CPUs cannot be dealt out in {sets} sets")));
        }
        if sets <= self.cores.len() {
            let cores: Vec<_> = self.cores().collect();
            let joined = |cores: &[&CpuSet]| cores.iter().flat_map(|core| core.iter()).collect();
            return Ok(split(&cores, sets).map(joined).collect());
        }
        let by_core: Vec<_> = self.cores().flat_map(CpuSet::iter).collect();
        Ok(split(&by_core, sets).map(|cpus| cpus.iter().copied().collect()).collect())
    }

    fn unless_empty(self) -> Result<Self> {
        if self.cores.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, Operation::Probe)
                .because("there is no CPU in it"));
        }
        Ok(self)
    }
}

/// A core by its number in its package, or a CPU of which the kernel does not tell the core.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum CoreKey {
    Numbered(i32),
    Alone(u16),
}

/// `items` in `parts` pieces that differ by one in length at most. There are at least that many items.
fn split<T>(items: &[T], parts: usize) -> impl Iterator<Item = &[T]> {
    let border = move |part: usize| part * items.len() / parts;
    (0..parts).map(move |part| &items[border(part)..border(part + 1)])
}

/// The CPUs that are online: by the kernel's list, or by the directories that it made.
fn online(directory: &Path) -> CpuSet {
    let list = |file| {
        let set: CpuSet = fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()?;
        Some(set).filter(|set| !set.is_empty())
    };
    list("online").or_else(|| list("present")).unwrap_or_else(|| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let cpu = |entry: fs::DirEntry| {
            entry.file_name().to_str()?.strip_prefix("cpu")?.parse::<u16>().ok()
        };
        entries.filter_map(cpu).collect()
    })
}
