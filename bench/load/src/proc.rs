//! What Linux tells of another process: CPU time and memory.

use std::fs;

use anyhow::{Context as _, Result};

/// The CPU time of all threads that live, user and kernel, in nanoseconds.
///
/// `/proc/PID/stat` counts in ticks of 10 ms; `schedstat` is exact up to the scheduler's last look at the thread,
/// which is at most one tick of the kernel (1 to 4 ms) ago.
pub(crate) fn cpu_ns(pid: u32) -> Result<u64> {
    let directory = format!("/proc/{pid}/task");
    let mut sum = 0;
    for thread in fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))? {
        let path = thread?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let time = text.split(' ').next().and_then(|number| number.parse::<u64>().ok());
        sum += time.with_context(|| format!("{} has no time in it", path.display()))?;
    }
    Ok(sum)
}

/// The memory that belongs to the process alone and that it has written to, in bytes: heap and stacks, not the program.
pub(crate) fn private_dirty(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(number.with_context(|| format!("{path} has no Private_Dirty"))? * 1024)
}
