//! `cargo xtask million`: very many live connections on one machine, to an engine and from clients of their own.
//!
//! A process may have 20,000 descriptors where the system does not allow more, so there are several server processes at one
//! port (`SO_REUSEPORT`), and several client processes, each at a loopback address of its own, since a pair of addresses has
//! 28,000 ports. This program starts itself for both, tells them by lines on stdin what to do, and reads what has come of it.

mod client;
mod measure;
mod process;
mod server;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};

use measure::Memory;
use process::Process;

/// Open very many connections to the engine, and see what each costs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask million", bin_name = "cargo xtask million", max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// Connections in all; a million take about 9 GB, most of which is the kernel's
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    connections: u32,
    /// The most connections of a process, which needs a descriptor for each
    ///
    /// The system spreads connections over server processes by a hash, so those need some room more.
    #[arg(long, default_value_t = 17_500, value_parser = clap::value_parser!(u32).range(1..=28_000))]
    per_process: u32,
    /// Seconds of silence after which the servers send pings; 0: never
    #[arg(long, default_value_t = 20)]
    ping: u64,
    /// Bytes of the message that is published to all
    #[arg(long, default_value_t = 125, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    size: u32,
    /// How often it is published, each time when the one before has reached all
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// What a process that this program has started does.
#[derive(Debug, Subcommand)]
enum Role {
    #[command(hide = true)]
    Server { port: u16, ping: u64 },
    #[command(hide = true)]
    Client {
        port: u16,
        address: Ipv4Addr,
        connections: u32,
        size: usize,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.role {
        Some(Role::Server { port, ping }) => server::run(port, ping),
        Some(Role::Client {
            port,
            address,
            connections,
            size,
        }) => client::run(port, address, connections, size),
        None => run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("million: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let count = args.connections.div_ceil(args.per_process);
    println!(
        "{} connections, by {count} server and {count} client processes, on Linux {}",
        args.connections,
        std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim_end()
    );
    let ping = args.ping.to_string();
    let mut servers = Vec::new();
    let mut port = 0_u16;
    for _ in 0..count {
        let mut server = Process::start(&["server", &port.to_string(), &ping])?;
        port = server.told("listening")?;
        servers.push(server);
    }
    let mut clients = Vec::new();
    for number in 0..count {
        let share = args.connections / count + u32::from(number < args.connections % count);
        let address = Ipv4Addr::new(127, 1, (number / 250) as u8, (number % 250 + 1) as u8);
        let address = address.to_string();
        clients.push(Process::start(&[
            "client",
            &port.to_string(),
            &address,
            &share.to_string(),
            &args.size.to_string(),
        ])?);
    }
    let before = Memory::of(&servers)?;
    let took = connect(&mut clients)?;
    let rate = f64::from(args.connections) / took.as_secs_f64();
    println!(
        "time to connect     {:.1} s, {rate:.0} connections/s",
        took.as_secs_f64()
    );
    let open = open(&mut servers)?;
    ensure!(open == args.connections, "{open} of them are open");

    let after = Memory::of(&servers)?;
    let each = |bytes: u64| bytes as f64 / f64::from(args.connections);
    println!(
        "server, user        {:.0} bytes a connection",
        each(after.servers - before.servers)
    );
    println!(
        "kernel, both ends   {:.0} bytes a connection",
        each(after.kernel.saturating_sub(before.kernel))
    );
    publish(args, &mut servers, &mut clients)?;
    leave(clients, &mut servers, &before, &after)
}

/// Has all clients connect, all at the same time.
fn connect(clients: &mut [Process]) -> Result<Duration> {
    let start = Instant::now();
    for client in clients.iter_mut() {
        client.tell("connect")?;
    }
    for client in clients.iter_mut() {
        client.told::<u32>("connected")?;
    }
    Ok(start.elapsed())
}

/// How many connections the servers have open.
fn open(servers: &mut [Process]) -> Result<u32> {
    let mut open = 0;
    for server in servers {
        server.tell("count")?;
        open += server.told::<u32>("open")?;
    }
    Ok(open)
}

/// Publishes to all, so often, and says how long it took until the last had it.
fn publish(args: &Args, servers: &mut [Process], clients: &mut [Process]) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..args.rounds {
        let start = Instant::now();
        for server in servers.iter_mut() {
            server.tell(&format!("publish {}", args.size))?;
        }
        for client in clients.iter_mut() {
            client.told::<u32>("delivered")?;
        }
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!(
        "publish {} bytes   {:.3} s to the last delivery (median of {}; {:.3} to {:.3}), {:.0} deliveries/s",
        args.size,
        median.as_secs_f64(),
        times.len(),
        times[0].as_secs_f64(),
        times[times.len() - 1].as_secs_f64(),
        f64::from(args.connections) / median.as_secs_f64()
    );
    Ok(())
}

/// Ends the clients, and looks at the servers when they have noticed.
fn leave(mut clients: Vec<Process>, servers: &mut [Process], before: &Memory, full: &Memory) -> Result<()> {
    let start = Instant::now();
    clients.iter_mut().for_each(Process::end);
    for client in clients {
        client.ended().context("a client")?;
    }
    for server in servers.iter_mut() {
        server.tell("empty")?;
    }
    for server in servers.iter_mut() {
        server.told::<u32>("open")?;
    }
    let took = start.elapsed().as_secs_f64();
    let after = Memory::of(servers)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "all gone            after {took:.1} s; the servers' RSS is {:.0} MiB, was {:.0} MiB full and {:.0} MiB at first",
        mib(after.servers_rss),
        mib(full.servers_rss),
        mib(before.servers_rss)
    );
    Ok(())
}
