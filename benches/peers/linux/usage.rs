//! Processor time and memory of a process, as the kernel reports them.

use std::{collections::BTreeMap, fs, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The processor time of a process at some moment.
#[derive(Debug)]
pub(super) struct Cpu {
    /// By thread, in nanoseconds, for the threads that are alive.
    threads: BTreeMap<u32, u64>,
    /// Of all threads that ever lived, in ticks.
    ticks: u64,
}

impl Cpu {
    pub(super) fn of(process: u32) -> Self {
        let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
        let threads = threads.filter_map(|entry| {
            let entry = entry.ok()?;
            let thread = entry.file_name().to_str()?.parse().ok()?;
            let used = fs::read_to_string(entry.path().join("schedstat")).ok()?;
            Some((thread, used.split(' ').next()?.parse().ok()?))
        });
        Self { threads: threads.collect(), ticks: ticks(process).unwrap_or_default() }
    }

    /// Returns the processor time since `before`.
    pub(super) fn since(&self, before: &Self) -> Duration {
        let used = |(thread, now): (&u32, &u64)| {
            now.saturating_sub(before.threads.get(thread).copied().unwrap_or_default())
        };
        let threads = Duration::from_nanos(self.threads.iter().map(used).sum());
        let ticks = TICK * u32::try_from(self.ticks - before.ticks).unwrap();
        // The total is far above that of the living threads only if threads have come and gone.
        if ticks > threads + 3 * TICK { ticks } else { threads }
    }
}

/// Returns the resident memory of a process, in KiB.
pub(super) fn resident(process: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}

/// Raises the limit of open files of this process and of children started later.
pub(super) fn allow_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// Returns how many files this process may open.
pub(super) fn open_files_max() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize)
}

fn ticks(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may contain anything, so look for the last one.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let [user, system] = [fields.next()?, fields.next()?].map(|field| field.parse().ok());
    Some::<u64>(user?).zip(system).map(|(user, system): (u64, u64)| user + system)
}

/// The length of a clock tick of proc(5), the same on every current machine.
const TICK: Duration = Duration::from_millis(10);
