//! The closed loop over all connections, and what it measures.

use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

use crate::Args;
use crate::connection::{Buffers, Connection};
use crate::frames::Batch;
use crate::proc;
use crate::transport::Connector;

/// A server that answers nothing for so long is an error, not a slow server.
const STALLED: Duration = Duration::from_secs(10);

/// What was seen between the start and the end of the measurement.
struct Window {
    messages: u64,
    seconds: f64,
    server_ns: Option<u64>,
    client_ns: u64,
}

/// Connects, warms up, measures.
pub(crate) fn run(args: &Args) -> Result<Value> {
    let mut batch = Batch::new(args);
    let connector = Connector::new(args)?;
    let poll = Poll::new()?;
    let mut connections = Vec::with_capacity(args.connections);
    for index in 0..args.connections {
        let transport = connector.connect()?;
        transport.tcp().set_nonblocking(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut SourceFd(&transport.tcp().as_raw_fd()), Token(index), interest)?;
        connections.push(Connection::new(transport));
    }
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let window = measure(args, &mut batch, poll, &mut connections, &mut latencies)?;

    let messages = window.messages as f64;
    let us = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(json!({
        "messages": window.messages,
        "seconds": window.seconds,
        "rate": messages / window.seconds,
        "server_ns_per_message": window.server_ns.map(|ns| ns as f64 / messages),
        "server_busy": window.server_ns.map(|ns| ns as f64 / 1e9 / window.seconds),
        "client_ns_per_message": window.client_ns as f64 / messages,
        // It spins: where this is less than 1, something else had its core.
        "client_busy": window.client_ns as f64 / 1e9 / window.seconds,
        // From the write of a batch to the last byte of its answer; this client spins, so none of it is its wake-up.
        "latency_us": { "p50": us(0.5), "p99": us(0.99), "p999": us(0.999), "max": latencies.max() as f64 / 1000.0 },
        "wire_bytes_sent": batch.sent.len() as f64 / args.depth as f64,
        "wire_bytes_received": batch.expected.len() as f64 / args.depth as f64,
    }))
}

fn measure(
    args: &Args,
    batch: &mut Batch,
    mut poll: Poll,
    connections: &mut [Connection],
    latencies: &mut Histogram<u64>,
) -> Result<Window> {
    let mut buffers = Buffers::new();
    let mut events = Events::with_capacity(connections.len().max(16));
    let depth = args.depth as u64;
    let begun = Instant::now();
    for connection in connections.iter_mut() {
        connection.start(batch, Instant::now())?;
    }
    let warm = begun + Duration::from_secs_f64(args.warm_up);
    let length = Duration::from_secs_f64(args.seconds);
    let mut window: Option<Start> = None;
    let (mut messages, mut last) = (0, begun);
    loop {
        poll.poll(&mut events, Some(Duration::ZERO))
            .context("cannot wait for events")?;
        for event in &events {
            let connection = &mut connections[event.token().0];
            if event.is_writable() {
                connection.write(batch)?;
            }
            if event.is_readable()
                && let Some(since) = connection.read(batch, &mut buffers)?
            {
                let now = Instant::now();
                messages += depth;
                latencies.saturating_record(now.duration_since(since).as_nanos() as u64);
                connection.start(batch, now)?;
                last = now;
            }
        }
        let now = Instant::now();
        if now.duration_since(last) > STALLED {
            bail!(
                "no answer for {} s; {messages} messages were answered",
                STALLED.as_secs()
            );
        }
        match &window {
            None if now >= warm => {
                (messages, window) = (0, Some(Start::now(args.pid)?));
                latencies.reset();
            }
            Some(start) => {
                let done = match args.messages {
                    Some(enough) => messages >= enough,
                    None => now.duration_since(start.time) >= length,
                };
                if done {
                    return start.end(args.pid, messages);
                }
            }
            None => {}
        }
    }
}

/// The clocks at the start of the measurement.
struct Start {
    time: Instant,
    server_ns: Option<u64>,
    client_ns: u64,
}

impl Start {
    fn now(pid: Option<u32>) -> Result<Self> {
        Ok(Self {
            server_ns: pid.map(proc::cpu_ns).transpose()?,
            client_ns: proc::cpu_ns(std::process::id())?,
            time: Instant::now(),
        })
    }

    fn end(&self, pid: Option<u32>, messages: u64) -> Result<Window> {
        let now = Self::now(pid)?;
        if messages == 0 {
            bail!("no message was answered while it was measured");
        }
        Ok(Window {
            messages,
            seconds: now.time.duration_since(self.time).as_secs_f64(),
            server_ns: now.server_ns.zip(self.server_ns).map(|(now, then)| now - then),
            client_ns: now.client_ns - self.client_ns,
        })
    }
}
