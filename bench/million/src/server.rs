//! A server process: an engine with one shard, in which every connection subscribes to one topic.

use std::io::{BufRead as _, Write as _};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use sockeye_engine::{Decision, End, Engine, Handler, Payload, ServerOptions, Socket, Upgrade};

/// How many connections are open, and who waits for the last to go.
#[derive(Debug, Default)]
struct Open {
    count: AtomicU32,
    lock: Mutex<()>,
    empty: Condvar,
}

struct Subscribe(Arc<Open>);

impl Handler for Subscribe {
    /// What the idle cell of the benchmarks has too.
    type Data = u64;

    fn upgrade(&mut self, _request: &mut Upgrade<'_, u64>) -> Decision<u64> {
        Decision::Accept(0)
    }

    fn open(&mut self, socket: &mut Socket<'_, u64>) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = socket.subscribe("all") {
            eprintln!("million: {error}");
        }
    }

    fn message(&mut self, socket: &mut Socket<'_, u64>, message: Payload<'_>) {
        *socket.data += 1;
        let _ = socket.send(message);
    }

    fn close(&mut self, _data: u64, _end: End<'_>) {
        if self.0.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            let _lock = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.empty.notify_all();
        }
    }
}

pub(crate) fn run(port: u16, ping: u64) -> Result<()> {
    let ping = (ping > 0).then(|| Duration::from_secs(ping));
    // A machine with so many connections on two cores may not get to some for a while.
    let options = ServerOptions::builder()
        .ping_interval(ping)
        .ping_timeout(Duration::from_secs(120))
        .handshake_timeout(Duration::from_secs(120))
        .build()?;
    let open = Arc::<Open>::default();
    let handler = open.clone();
    let engine = Engine::builder(options)
        .listen((Ipv4Addr::LOCALHOST, port))?
        .threads(1)
        .start(move |_shard| Subscribe(handler.clone()))?;
    say("listening", u32::from(engine.local_addrs()[0].port()))?;
    let publisher = engine.publisher();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("count", "") => say("open", open.count.load(Ordering::Relaxed))?,
            ("empty", "") => {
                let mut lock = open.lock.lock().unwrap_or_else(PoisonError::into_inner);
                while open.count.load(Ordering::Relaxed) > 0 {
                    lock = open.empty.wait(lock).unwrap_or_else(PoisonError::into_inner);
                }
                drop(lock);
                say("open", 0)?;
            }
            ("publish", size) => {
                let message = vec![b'x'; size.parse()?];
                let _ = publisher.publish("all", &message[..])?;
            }
            _ => bail!("a server knows nothing of `{line}`"),
        }
    }
    Ok(())
}

/// A line for who has started this process.
pub(crate) fn say(word: &str, number: u32) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{word} {number}")?;
    Ok(stdout.flush()?)
}
