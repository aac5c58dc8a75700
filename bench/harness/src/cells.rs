//! What is measured: each cell is one load.

use serde::Serialize;

use crate::Task;
use crate::servers::{RAW_EPOLL, UWS};

/// One load, and so one table and one plot.
#[derive(Debug)]
pub(crate) struct Cell {
    /// What `--cells` and file names say.
    pub(crate) name: &'static str,
    /// What headings say.
    pub(crate) label: &'static str,
    pub(crate) task: Task,
    /// `binary`, `ascii`, `text` or `json`, as the load generator calls them.
    pub(crate) payload: &'static str,
    /// Bytes of one message.
    pub(crate) size: usize,
    /// Messages in flight on each connection.
    pub(crate) depth: usize,
    /// Connections; of a broadcast, subscribers.
    pub(crate) connections: usize,
}

/// What the engine has to reach in a cell.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Bar {
    pub(crate) reference: &'static str,
    pub(crate) at_least: f64,
}

/// The servers that bars are for.
pub(crate) const BARRED: &str = "engine";

#[rustfmt::skip]
pub(crate) const ALL: &[Cell] = &[
    cell("16b-d1", "16 B, one in flight, 100 connections", Task::Echo, "binary", 16, 1, 100),
    cell("16b-d1-1000c", "16 B, one in flight, 1000 connections", Task::Echo, "binary", 16, 1, 1000),
    cell("16b-d16", "16 B, 16 in flight, 100 connections", Task::Echo, "binary", 16, 16, 100),
    cell("16b-d64", "16 B, 64 in flight, 100 connections", Task::Echo, "binary", 16, 64, 100),
    cell("125b-text-d64", "125 B ASCII text, 64 in flight, 100 connections", Task::Echo, "ascii", 125, 64, 100),
    cell("1k-ascii-d16", "1 KiB ASCII text, 16 in flight, 100 connections", Task::Echo, "ascii", 1024, 16, 100),
    cell("1k-text-d16", "1 KiB non-ASCII text, 16 in flight, 100 connections", Task::Echo, "text", 1024, 16, 100),
    cell("16k-d1", "16 KiB, one in flight, 100 connections", Task::Echo, "binary", 16 << 10, 1, 100),
    cell("16k-text-d1", "16 KiB non-ASCII text, one in flight, 100 connections", Task::Echo, "text", 16 << 10, 1, 100),
    cell("1m-d1", "1 MiB, one in flight, 10 connections", Task::Echo, "binary", 1 << 20, 1, 10),
    cell("deflate-1k-d1", "1 KiB JSON, deflated, one in flight, 100 connections", Task::Deflate, "json", 1024, 1, 100),
    cell("deflate-1k-d16", "1 KiB JSON, deflated, 16 in flight, 100 connections", Task::Deflate, "json", 1024, 16, 100),
    cell("broadcast-1000-w1", "125 B text to 1000 subscribers, one publish in flight", Task::Broadcast, "ascii", 125, 1, 1000),
    cell("broadcast-1000-w8", "125 B text to 1000 subscribers, 8 publishes in flight", Task::Broadcast, "ascii", 125, 8, 1000),
    cell("broadcast-100-w8", "125 B text to 100 subscribers, 8 publishes in flight", Task::Broadcast, "ascii", 125, 8, 100),
    cell("shards-16b-d16", "16 B, 16 in flight, 100 connections", Task::Shards, "binary", 16, 16, 100),
    cell("shards-broadcast-w8", "125 B text to 1000 subscribers, 8 publishes in flight", Task::Shards, "ascii", 125, 8, 1000),
    cell("tls-1k-d16", "1 KiB ASCII text over TLS, 16 in flight, 100 connections", Task::Tls, "ascii", 1024, 16, 100),
];

const fn cell(
    name: &'static str,
    label: &'static str,
    task: Task,
    payload: &'static str,
    size: usize,
    depth: usize,
    connections: usize,
) -> Cell {
    Cell {
        name,
        label,
        task,
        payload,
        size,
        depth,
        connections,
    }
}

impl Cell {
    /// Whether one connection publishes and the others get it.
    pub(crate) fn is_broadcast(&self) -> bool {
        self.name.contains("broadcast")
    }

    /// What the engine has to reach here; none where it is only stated.
    pub(crate) fn bar(&self) -> Option<Bar> {
        let (reference, at_least) = match self.name {
            "16b-d1" | "16b-d1-1000c" => (RAW_EPOLL, 0.98),
            "16b-d16" => (UWS, 1.02),
            "16b-d64" => (UWS, 1.06),
            "125b-text-d64" => (UWS, 1.08),
            "1k-ascii-d16" => (UWS, 1.2),
            "1k-text-d16" => (UWS, 1.75),
            "16k-d1" => (UWS, 1.18),
            "16k-text-d1" => (UWS, 1.8),
            "1m-d1" => (UWS, 1.5),
            "deflate-1k-d1" | "deflate-1k-d16" => (UWS, 1.3),
            "broadcast-1000-w1" => (UWS, 1.3),
            "broadcast-1000-w8" => (UWS, 1.1),
            "broadcast-100-w8" => (UWS, 1.0),
            _ => return None,
        };
        Some(Bar { reference, at_least })
    }
}

/// The cells of one task, or those of them that `wanted` names, whole or in part.
pub(crate) fn of(task: Task, wanted: &[String]) -> impl Iterator<Item = &'static Cell> {
    ALL.iter().filter(move |cell| {
        let chosen = wanted.is_empty() || wanted.iter().any(|name| is_meant(cell.name, name));
        cell.task == task && chosen
    })
}

/// Whether `wanted` names a cell, whole or in part.
pub(crate) fn exists(wanted: &str) -> bool {
    ALL.iter().any(|cell| is_meant(cell.name, wanted))
}

/// `16b-d1` means that cell alone, though it is a part of `16b-d16`; `text` means all that have it in their names.
fn is_meant(cell: &str, wanted: &str) -> bool {
    let is_whole = ALL.iter().any(|cell| cell.name == wanted);
    if is_whole {
        cell == wanted
    } else {
        cell.contains(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_means_one_cell() {
        let count = |task, wanted: &str| of(task, &[wanted.to_owned()]).count();
        assert_eq!(count(Task::Echo, "16b-d1"), 1);
        assert_eq!(count(Task::Echo, "16b"), 4);
        assert_eq!(count(Task::Tls, "16b"), 0);
    }
}
