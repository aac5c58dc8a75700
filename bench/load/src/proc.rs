//! What Linux tells of another process: CPU time and memory.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

/// A server that is never at rest, because a thread of its own works on and on, is measured all the same.
const RESTLESS: Duration = Duration::from_millis(20);

/// The CPU time of all threads that live, user and kernel, in nanoseconds.
///
/// `/proc/PID/stat` counts in ticks of 10 ms; `schedstat` is exact for a thread that sleeps, and for one that runs up to the
/// scheduler's last look at it, which is at most one tick of the kernel (1 to 4 ms) ago.
pub(crate) fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for path in threads(pid)? {
        let path = path.join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let time = text.split(' ').next().and_then(|number| number.parse::<u64>().ok());
        sum += time.with_context(|| format!("{} has no time in it", path.display()))?;
    }
    Ok(sum)
}

/// Returns when no thread of the process runs.
pub(crate) fn wait_for_rest(pid: u32) -> Result<()> {
    let since = Instant::now();
    loop {
        let mut running = false;
        for path in threads(pid)? {
            // A thread may have ended in between. Behind the name, which may have anything in it, is the state.
            let text = fs::read_to_string(path.join("stat")).unwrap_or_default();
            running |= text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('R'));
        }
        if !running || since.elapsed() > RESTLESS {
            return Ok(());
        }
    }
}

/// The directories of a process's threads.
fn threads(pid: u32) -> Result<Vec<PathBuf>> {
    let directory = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// What this process took itself, in nanoseconds.
pub(crate) fn own_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The memory that belongs to the process alone and that it has written to, in bytes: heap and stacks, not the program.
pub(crate) fn private_dirty(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(number.with_context(|| format!("{path} has no Private_Dirty"))? * 1024)
}
