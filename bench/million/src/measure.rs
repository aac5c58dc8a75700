//! What Linux tells about memory.

use std::fs;

use anyhow::{Context as _, Result};

use crate::process::Process;

/// In bytes.
#[derive(Debug)]
pub(crate) struct Memory {
    /// What belongs to the server processes alone and was written to.
    pub(crate) servers: u64,
    pub(crate) servers_rss: u64,
    /// The same of all processes of this program's.
    processes: u64,
    /// What the kernel has in slabs: sockets, files, epoll's items.
    pub(crate) slab: u64,
    available: u64,
}

impl Memory {
    pub(crate) fn of(servers: &[Process], clients: &[Process]) -> Result<Self> {
        let (mut own, mut rss, mut all) = (0, 0, 0);
        for server in servers {
            let rollup = format!("/proc/{}/smaps_rollup", server.id());
            own += field(&rollup, "Private_Dirty")?;
            rss += field(&rollup, "Rss")?;
        }
        for client in clients {
            all += field(&format!("/proc/{}/smaps_rollup", client.id()), "Private_Dirty")?;
        }
        Ok(Self {
            servers: own,
            servers_rss: rss,
            processes: own + all,
            slab: field("/proc/meminfo", "Slab")?,
            available: field("/proc/meminfo", "MemAvailable")?,
        })
    }

    /// What is taken and belongs to no process of ours: compared with an earlier look it is the kernel's part, and whatever
    /// else happens on the machine.
    pub(crate) fn kernel(&self) -> u64 {
        // From the top of the address space down, so that a difference of two is right.
        (1 << 60) - self.available - self.processes
    }
}

/// A figure in kB.
fn field(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = lines
        .next()
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(number.with_context(|| format!("{path} has no {name}"))? * 1024)
}
