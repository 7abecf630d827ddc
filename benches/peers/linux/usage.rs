//! Processor time and memory of a process, as the kernel reports them.

use std::{collections::BTreeMap, fs, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The processor time of a process and its descendants at some moment.
#[derive(Debug)]
pub(super) struct Cpu {
    /// By thread, in nanoseconds, for the threads that are alive.
    threads: BTreeMap<u32, u64>,
    /// Of all threads that ever lived, in ticks.
    ticks: u64,
}

impl Cpu {
    pub(super) fn of(process: u32) -> Self {
        let family = family(process);
        let folders = family.iter().map(|process| fs::read_dir(format!("/proc/{process}/task")));
        let threads = folders.flatten().flatten().filter_map(|entry| {
            let entry = entry.ok()?;
            let thread = entry.file_name().to_str()?.parse().ok()?;
            let used = fs::read_to_string(entry.path().join("schedstat")).ok()?;
            Some((thread, used.split(' ').next()?.parse().ok()?))
        });
        let ticks = family.iter().filter_map(|process| ticks(*process)).sum();
        Self { threads: threads.collect(), ticks }
    }

    /// Returns the processor time since `before`.
    pub(super) fn since(&self, before: &Self) -> Duration {
        let used = |(thread, now): (&u32, &u64)| {
            now.saturating_sub(before.threads.get(thread).copied().unwrap_or_default())
        };
        let threads = Duration::from_nanos(self.threads.iter().map(used).sum());
        let ticks = TICK * u32::try_from(self.ticks.saturating_sub(before.ticks)).unwrap();
        // The ticks are far above the time of the living threads only if other threads have ended.
        if ticks > threads + 3 * TICK { ticks } else { threads }
    }
}

/// Returns the resident memory of a process and its descendants, in KiB. Memory that they share counts for each.
pub(super) fn resident(process: u32) -> u64 {
    family(process).into_iter().filter_map(resident_alone).sum()
}

fn resident_alone(process: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Returns a process and its descendants. Some proxies, such as dante, do their work in children.
fn family(process: u32) -> Vec<u32> {
    let mut family = vec![process];
    let mut next = 0;
    while let Some(parent) = family.get(next) {
        let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        let lists =
            threads.filter_map(|entry| fs::read_to_string(entry.path().join("children")).ok());
        let children: Vec<u32> = lists
            .flat_map(|list| {
                list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()
            })
            .collect();
        family.extend(children);
        next += 1;
    }
    family
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
