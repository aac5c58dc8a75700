//! What is counted, by shard: each writes its own numbers, anybody reads them.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a shard counts itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Open,
    Accepted,
    Rejected,
    Failed,
    HandedOver,
    ClosedClean,
    ClosedUnclean,
    MessagesIn,
    MessagesOut,
    BytesIn,
    BytesOut,
    DroppedSend,
    DroppedPublish,
    QueuedBytes,
    Published,
    Delivered,
}

const COUNTS: usize = Count::Delivered as usize + 1;

/// Counts as the shard keeps them, without a thought of other threads.
#[derive(Debug, Default)]
pub(crate) struct Counts([u64; COUNTS]);

impl Counts {
    #[inline]
    pub(crate) fn add(&mut self, count: Count, more: u64) {
        self.0[count as usize] = self.0[count as usize].wrapping_add(more);
    }

    #[inline]
    pub(crate) fn subtract(&mut self, count: Count, less: u64) {
        self.0[count as usize] = self.0[count as usize].wrapping_sub(less);
    }
}

/// The counts of one shard, as of its last turn.
#[derive(Debug, Default)]
pub(crate) struct ShardMetrics {
    counts: [AtomicU64; COUNTS],
    turns: [AtomicU64; BOUNDS.len() + 1],
    turn_nanos: AtomicU64,
}

/// Upper bounds of the loop's latency, in microseconds.
const BOUNDS: [u64; 10] = [10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 1_000_000];

impl ShardMetrics {
    pub(crate) fn value(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// A turn of the loop has taken so long, and come to that.
    #[inline]
    pub(crate) fn turned(&self, counts: &Counts, took: Duration) {
        for (shown, count) in self.counts.iter().zip(&counts.0) {
            shown.store(*count, Ordering::Relaxed);
        }
        let nanos = took.as_nanos() as u64;
        let slot = BOUNDS
            .iter()
            .position(|bound| nanos <= bound * 1000)
            .unwrap_or(BOUNDS.len());
        // A single writer needs no locked addition.
        let plus = |counter: &AtomicU64, more| counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        plus(&self.turns[slot], 1);
        plus(&self.turn_nanos, nanos);
    }
}

/// The counts of all shards, and how many messages their mailboxes had no room for, in the text format of Prometheus.
pub(crate) fn render<'a>(shards: impl Iterator<Item = &'a ShardMetrics> + Clone, mailbox: u64) -> String {
    let mut out = String::new();
    let sum = |count: Count| -> u64 { shards.clone().map(|shard| shard.value(count)).sum() };
    let mut family = |name: &str, kind: &str, help: &str, values: &[(&str, u64)]| {
        let _ = writeln!(
            out,
            "# HELP sockeye_engine_{name} {help}\n# TYPE sockeye_engine_{name} {kind}"
        );
        for (labels, value) in values {
            let _ = writeln!(out, "sockeye_engine_{name}{labels} {value}");
        }
    };
    family("connections", "gauge", "Open connections.", &[("", sum(Count::Open))]);
    family(
        "handshakes_total",
        "counter",
        "Requests by what became of them.",
        &[
            ("{outcome=\"accepted\"}", sum(Count::Accepted)),
            ("{outcome=\"rejected\"}", sum(Count::Rejected)),
            ("{outcome=\"failed\"}", sum(Count::Failed)),
            ("{outcome=\"http\"}", sum(Count::HandedOver)),
        ],
    );
    family(
        "closed_total",
        "counter",
        "Connections that ended.",
        &[
            ("{clean=\"true\"}", sum(Count::ClosedClean)),
            ("{clean=\"false\"}", sum(Count::ClosedUnclean)),
        ],
    );
    family(
        "messages_total",
        "counter",
        "Messages by direction.",
        &[
            ("{direction=\"in\"}", sum(Count::MessagesIn)),
            ("{direction=\"out\"}", sum(Count::MessagesOut)),
        ],
    );
    family(
        "bytes_total",
        "counter",
        "Bytes of frames by direction, before TLS.",
        &[
            ("{direction=\"in\"}", sum(Count::BytesIn)),
            ("{direction=\"out\"}", sum(Count::BytesOut)),
        ],
    );
    family(
        "dropped_total",
        "counter",
        "Messages that were not sent, by where there was no room.",
        &[
            ("{where=\"send\"}", sum(Count::DroppedSend)),
            ("{where=\"publish\"}", sum(Count::DroppedPublish)),
            ("{where=\"mailbox\"}", mailbox),
        ],
    );
    family(
        "queued_bytes",
        "gauge",
        "Output that waits for peers to read.",
        &[("", sum(Count::QueuedBytes))],
    );
    family(
        "published_total",
        "counter",
        "Messages published to somebody, once a shard.",
        &[("", sum(Count::Published))],
    );
    family(
        "delivered_total",
        "counter",
        "Messages to subscribers.",
        &[("", sum(Count::Delivered))],
    );

    let name = "sockeye_engine_turn_seconds";
    let _ = writeln!(
        out,
        "# HELP {name} How long the shards' loops were busy at a time.\n# TYPE {name} histogram"
    );
    let mut total = 0;
    for (slot, bound) in BOUNDS.iter().enumerate() {
        total += shards
            .clone()
            .map(|shard| shard.turns[slot].load(Ordering::Relaxed))
            .sum::<u64>();
        let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {total}", *bound as f64 / 1e6);
    }
    total += shards
        .clone()
        .map(|shard| shard.turns[BOUNDS.len()].load(Ordering::Relaxed))
        .sum::<u64>();
    let nanos = shards
        .map(|shard| shard.turn_nanos.load(Ordering::Relaxed))
        .sum::<u64>();
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {total}");
    let _ = writeln!(out, "{name}_sum {}\n{name}_count {total}", nanos as f64 / 1e9);
    out
}
