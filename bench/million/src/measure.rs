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
    /// What the kernel has in slabs: sockets, files, epoll's items.
    pub(crate) kernel: u64,
}

impl Memory {
    pub(crate) fn of(servers: &[Process]) -> Result<Self> {
        let (mut own, mut rss) = (0, 0);
        for server in servers {
            let rollup = format!("/proc/{}/smaps_rollup", server.id());
            own += field(&rollup, "Private_Dirty")?;
            rss += field(&rollup, "Rss")?;
        }
        Ok(Self {
            servers: own,
            servers_rss: rss,
            kernel: field("/proc/meminfo", "Slab")?.saturating_sub(names_of_descriptors()),
        })
    }
}

/// What `/proc` itself takes in slabs, as far as root may know: whoever looks at the descriptors of all processes makes an
/// inode and a name for each, which stay for as long as nobody wants the memory. They are no connection's cost.
fn names_of_descriptors() -> u64 {
    let slabs = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    // Its name, and how many objects there are, of how many bytes.
    let cache = |name: &str| {
        let line = slabs.lines().find(|line| line.split(' ').next() == Some(name))?;
        let mut numbers = line.split_whitespace().skip(2).map(str::parse::<u64>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    match (cache("proc_inode_cache"), cache("dentry")) {
        (Some((inodes, inode)), Some((_, name))) => inodes * (inode + name),
        _ => 0,
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
