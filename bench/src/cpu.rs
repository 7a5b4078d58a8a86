//! Processor time of processes and of the machine, from `/proc`.

use std::{collections::HashMap, fs, thread};

use anyhow::Context;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Clock ticks a second: 100 on every Linux of the last twenty years, whatever the kernel's own.
const TICKS: f64 = 100.0;

/// Seconds of processor time that a process and its descendants have used.
pub(crate) fn of_tree(root: u32) -> f64 {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut ticks = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some((parent, used)) = parent_and_ticks(&stat) {
            children.entry(parent).or_default().push(pid);
            ticks.insert(pid, used);
        }
    }
    let (mut sum, mut open) = (0, vec![root]);
    while let Some(pid) = open.pop() {
        sum += ticks.get(&pid).copied().unwrap_or(0);
        open.extend(children.remove(&pid).unwrap_or_default());
    }
    sum as f64 / TICKS
}

/// Seconds of processor time that this process has used, and those that it started and waited for.
pub(crate) fn of_this_and_ended() -> anyhow::Result<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let (used, ended) = own_and_ended_ticks(&stat).context("cannot make sense of it")?;
    Ok((used as f64 / TICKS, ended as f64 / TICKS))
}

/// The parent, and the user and system time, of a line of `/proc/<pid>/stat`.
fn parent_and_ticks(stat: &str) -> Option<(u32, u64)> {
    let fields = numbers(stat)?;
    Some((u32::try_from(*fields.first()?).ok()?, fields.get(10)? + fields.get(11)?))
}

/// The user and system time, and that of children which were waited for.
fn own_and_ended_ticks(stat: &str) -> Option<(u64, u64)> {
    let fields = numbers(stat)?;
    Some((fields.get(10)? + fields.get(11)?, fields.get(12)? + fields.get(13)?))
}

/// From the parent on; what is negative means nothing here.
fn numbers(stat: &str) -> Option<Vec<u64>> {
    // The name is in parentheses and may hold any character, closing ones included.
    let fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().skip(1);
    Some(fields.map(|field| field.parse().unwrap_or(0)).collect())
}

/// Seconds that one processor has been busy.
pub(crate) fn busy(processor: usize) -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    busy_in(&stat, processor).with_context(|| format!("there is no processor {processor}"))
}

fn busy_in(stat: &str, processor: usize) -> Option<f64> {
    let name = format!("cpu{processor}");
    let mut fields = stat
        .lines()
        .map(str::split_whitespace)
        .find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, nice, system, _idle, _iowait) = (ticks()?, ticks()?, ticks()?, ticks()?, ticks()?);
    let (irq, softirq) = (ticks()?, ticks()?);
    Some((user + nice + system + irq + softirq) as f64 / TICKS)
}

/// Does something on one processor, with every thread and process that it starts.
pub(crate) fn pinned_to<T: Send>(
    processor: usize,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let mut set = CpuSet::new();
    set.set(processor);
    within(&set, work)
}

/// Does something on all processors but one, with every thread and process that it starts.
pub(crate) fn away_from<T: Send>(
    processor: usize,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let mut set = sched_getaffinity(None).context("cannot tell the processors")?;
    set.unset(processor);
    within(&set, work)
}

fn within<T: Send>(
    set: &CpuSet,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let pinned = || {
        sched_setaffinity(None, set).context("cannot choose a processor")?;
        work()
    };
    thread::scope(|scope| scope.spawn(pinned).join().expect("what is measured does not panic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_names_of_any_shape() {
        let stat = "42 (a) b (c)) S 7 42 42 0 -1 4194304 100 0 0 0 11 22 33 44 20 0 1 0 5 0 0";
        assert_eq!(parent_and_ticks(stat), Some((7, 33)));
        assert_eq!(own_and_ended_ticks(stat), Some((33, 77)));
        assert_eq!(parent_and_ticks("nonsense"), None);
    }

    #[test]
    fn idle_time_is_not_busy() {
        let stat = "cpu  9 9 9 9 9 9 9 0 0 0\ncpu0 100 0 50 1000 30 0 25 0 0 0\n";
        assert_eq!(busy_in(stat, 0), Some(1.75));
        assert_eq!(busy_in(stat, 1), None);
    }

    #[test]
    fn this_process_has_used_some_time() {
        assert!(of_tree(std::process::id()) >= 0.0);
        assert!(busy(0).unwrap() > 0.0);
    }
}
