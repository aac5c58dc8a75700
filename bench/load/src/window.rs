//! The clocks of a measurement, and what they come to.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Args;
use crate::frames::Batch;
use crate::proc;

/// A server that answers nothing for so long is an error, not a slow server.
const STALLED: Duration = Duration::from_secs(10);

/// Warms up, then measures: how many messages, in what time, for how much of the processors.
pub(crate) struct Window<'a> {
    args: &'a Args,
    warm: Instant,
    /// The clocks at the start of the measurement.
    start: Option<Clocks>,
    /// When something last came.
    last: Instant,
    messages: u64,
    latencies: Histogram<u64>,
}

impl<'a> Window<'a> {
    pub(crate) fn new(args: &'a Args) -> Result<Self> {
        let now = Instant::now();
        Ok(Self {
            args,
            warm: now + Duration::from_secs_f64(args.warm_up),
            start: None,
            last: now,
            messages: 0,
            latencies: Histogram::new_with_bounds(1, 60_000_000_000, 3)?,
        })
    }

    /// Messages have come that were under way since then.
    pub(crate) fn arrived(&mut self, messages: u64, since: Instant, now: Instant) {
        self.messages += messages;
        self.latencies
            .saturating_record(now.duration_since(since).as_nanos() as u64);
        self.last = now;
    }

    /// How long to wait for events.
    pub(crate) fn patience(&self) -> Duration {
        if self.args.wait { STALLED } else { Duration::ZERO }
    }

    /// To be called between two looks for events; the result, when it is there.
    pub(crate) fn look(&mut self, batch: &Batch) -> Result<Option<Value>> {
        let now = Instant::now();
        if now.duration_since(self.last) > STALLED {
            bail!(
                "no answer for {} s; {} messages were answered",
                STALLED.as_secs(),
                self.messages
            );
        }
        let Some(start) = &self.start else {
            if now >= self.warm {
                self.messages = 0;
                self.latencies.reset();
                self.start = Some(Clocks::now(self.args.pid)?);
            }
            return Ok(None);
        };
        let done = match self.args.messages {
            Some(enough) => self.messages >= enough,
            None => now.duration_since(start.time) >= Duration::from_secs_f64(self.args.seconds),
        };
        done.then(|| self.result(start, batch)).transpose()
    }

    fn result(&self, start: &Clocks, batch: &Batch) -> Result<Value> {
        let end = Clocks::now(self.args.pid)?;
        if self.messages == 0 {
            bail!("no message was answered while it was measured");
        }
        let seconds = end.time.duration_since(start.time).as_secs_f64();
        let server_ns = end.server_ns.zip(start.server_ns).map(|(end, start)| end - start);
        let client_ns = end.client_ns - start.client_ns;
        let (messages, depth) = (self.messages as f64, self.args.depth as f64);
        let us = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Ok(json!({
            "messages": self.messages,
            "seconds": seconds,
            "rate": messages / seconds,
            "server_ns_per_message": server_ns.map(|ns| ns as f64 / messages),
            "server_busy": server_ns.map(|ns| ns as f64 / 1e9 / seconds),
            "client_ns_per_message": client_ns as f64 / messages,
            // If it spins: where this is less than 1, something else had its core.
            "client_busy": client_ns as f64 / 1e9 / seconds,
            // From the write of a batch to the last byte of its answer; a client that spins adds no wake-up of its own.
            "latency_us": {
                "p50": us(0.5),
                "p99": us(0.99),
                "p999": us(0.999),
                "max": self.latencies.max() as f64 / 1000.0,
            },
            "wire_bytes_sent": batch.sent.len() as f64 / depth,
            "wire_bytes_received": batch.expected.len() as f64 / depth,
        }))
    }
}

struct Clocks {
    time: Instant,
    server_ns: Option<u64>,
    client_ns: u64,
}

impl Clocks {
    fn now(pid: Option<u32>) -> Result<Self> {
        Ok(Self {
            server_ns: pid.map(proc::cpu_ns).transpose()?,
            client_ns: proc::cpu_ns(std::process::id())?,
            time: Instant::now(),
        })
    }
}
