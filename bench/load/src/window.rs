//! One turn of a load: how long it goes on, and what it came to.
//!
//! A turn begins and ends at rest: nothing is under way, and the server sleeps. So what the kernel says of its CPU time
//! is exact, however short the turn, and all of it belongs to the messages that are counted.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Args;
use crate::frames::Batch;
use crate::proc;

/// A server that answers nothing for so long is an error, not a slow server.
const STALLED: Duration = Duration::from_secs(10);

/// When no new batch is sent any more.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Passed(Duration),
    Messages(u64),
}

/// The clocks of one turn and what they come to.
pub(crate) struct Window {
    until: Until,
    pid: Option<u32>,
    wait: bool,
    start: Clocks,
    /// When something last came.
    last: Instant,
    messages: u64,
    latencies: Histogram<u64>,
}

impl Window {
    pub(crate) fn new(args: &Args, until: Until) -> Result<Self> {
        let start = Clocks::at_rest(args.pid)?;
        Ok(Self {
            until,
            pid: args.pid,
            wait: args.wait,
            last: start.time,
            start,
            messages: 0,
            latencies: Histogram::new_with_bounds(1, 60_000_000_000, 3)?,
        })
    }

    /// Messages have come that were under way since then; whether more are to be sent.
    pub(crate) fn arrived(&mut self, messages: u64, since: Instant, now: Instant) -> bool {
        self.messages += messages;
        self.latencies
            .saturating_record(now.duration_since(since).as_nanos() as u64);
        self.last = now;
        match self.until {
            Until::Passed(time) => now.duration_since(self.start.time) < time,
            Until::Messages(enough) => self.messages < enough,
        }
    }

    /// How long to wait for events.
    pub(crate) fn patience(&self) -> Duration {
        if self.wait { STALLED } else { Duration::ZERO }
    }

    /// To be called between two looks for events.
    ///
    /// # Errors
    ///
    /// When the server has not answered anything for too long.
    pub(crate) fn look(&self) -> Result<()> {
        if self.last.elapsed() > STALLED {
            bail!(
                "no answer for {} s; {} messages were answered",
                STALLED.as_secs(),
                self.messages
            );
        }
        Ok(())
    }

    /// What it came to, once the answer to everything is there.
    pub(crate) fn result(&self, depth: usize, batch: &Batch) -> Result<Value> {
        let client_ns = proc::own_cpu_ns() - self.start.client_ns;
        let end = Clocks::at_rest(self.pid)?;
        if self.messages == 0 {
            bail!("no message was answered while it was measured");
        }
        let seconds = self.last.duration_since(self.start.time).as_secs_f64();
        let server_ns = end.server_ns.zip(self.start.server_ns).map(|(end, start)| end - start);
        let (messages, depth) = (self.messages as f64, depth as f64);
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
    /// Waits for the server to have nothing left to do.
    fn at_rest(pid: Option<u32>) -> Result<Self> {
        if let Some(pid) = pid {
            proc::wait_for_rest(pid)?;
        }
        Ok(Self {
            server_ns: pid.map(proc::cpu_ns).transpose()?,
            client_ns: proc::own_cpu_ns(),
            time: Instant::now(),
        })
    }
}
