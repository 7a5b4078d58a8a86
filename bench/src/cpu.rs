//! Processor time of processes and of the machine, from `/proc`.

use std::{collections::HashMap, fs, thread};

use anyhow::Context;
use rustix::thread::{CpuSet, sched_setaffinity};

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

/// The parent, and the user and system time, of a line of `/proc/<pid>/stat`.
fn parent_and_ticks(stat: &str) -> Option<(u32, u64)> {
    // The name is in parentheses and may hold any character, closing ones included.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((fields.get(1)?.parse().ok()?, number(11)? + number(12)?))
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
    let pinned = || {
        let mut set = CpuSet::new();
        set.set(processor);
        sched_setaffinity(None, &set).context("cannot choose a processor")?;
        work()
    };
    thread::scope(|scope| scope.spawn(pinned).join().expect("what is measured does not panic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_names_of_any_shape() {
        let stat = "42 (a) b (c)) S 7 42 42 0 -1 4194304 100 0 0 0 11 22 0 0 20 0 1 0 5 0 0";
        assert_eq!(parent_and_ticks(stat), Some((7, 33)));
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
