//! One message of any length, there and back in constant memory on both sides:
//!
//! ```text
//! cargo run --release --example large_message -- serve 127.0.0.1:9001
//! cargo run --release --example large_message -- send ws://127.0.0.1:9001/ 10240   # MiB
//! ```
//!
//! Each prints the most memory that it has ever used, where the system tells (Linux).
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use sockeye::transport::Stream;
use sockeye::{Client, CloseCode, MessageKind, Receiver, Sender, Server, ServerOptions, WebSocket};
use tokio::io::AsyncWriteExt;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &*arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        ["serve", address] => serve(address).await?,
        ["send", url, mebibytes] => send(url, mebibytes.parse::<u32>()?).await?,
        _ => {
            eprintln!("say `serve ADDRESS`, or `send URL MEBIBYTES`");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(address: &str) -> Result<(), Failure> {
    // The limit on whole messages, which are held in memory, stays at 1 MiB.
    let options = ServerOptions::builder().max_chunked_size(u64::MAX).build()?;
    let server = Server::bind(address, options).await?;
    println!("listening on ws://{}/", server.local_addr()?);
    server.serve(echo).await;
    Ok(())
}

/// Sends each message back while it comes. When the client does not read, this does not either.
async fn echo(ws: WebSocket<Stream>) -> Result<(), Failure> {
    let (sender, mut receiver) = ws.split();
    while let Some(mut message) = receiver.read_message().await? {
        let mut copy = sender.write_message(message.kind()).await?;
        let mut length = 0;
        while let Some(chunk) = message.chunk().await? {
            length += chunk.len();
            copy.write_all(&chunk).await?;
        }
        copy.finish().await?;
        println!("echoed {length} bytes; peak memory {}", peak_memory());
    }
    Ok(())
}

async fn send(url: &str, mebibytes: u32) -> Result<(), Failure> {
    let length = u64::from(mebibytes) << 20;
    let client = Client::builder().max_chunked_size(length).build()?;
    let (sender, receiver) = client.connect(url).await?.split();
    let start = Instant::now();
    let writing = tokio::spawn(write(sender, length));
    let echoed = read(receiver).await?;
    writing.await??;
    if echoed != length {
        return Err(format!("{echoed} bytes came back of {length}").into());
    }
    println!(
        "{length} bytes there and back in {:.1} s; peak memory {}",
        start.elapsed().as_secs_f64(),
        peak_memory()
    );
    Ok(())
}

async fn write(sender: Sender<Stream>, length: u64) -> Result<(), Failure> {
    let pattern = pattern();
    let mut message = sender.write_message(MessageKind::Binary).await?;
    let mut sent = 0;
    while sent < length {
        let part = PART.min(usize::try_from(length - sent)?);
        message.write_all(&pattern[phase(sent)..][..part]).await?;
        sent += part as u64;
    }
    message.finish().await?;
    Ok(sender.close(CloseCode::NORMAL, "").await?)
}

/// The length of the message that comes, if each of its bytes is what it was. Reads on until the connection ends.
async fn read(mut receiver: Receiver<Stream>) -> Result<u64, Failure> {
    let pattern = pattern();
    let mut received = 0;
    while let Some(mut message) = receiver.read_message().await? {
        while let Some(chunk) = message.chunk().await? {
            for part in chunk.chunks(PART) {
                if *part != pattern[phase(received)..][..part.len()] {
                    return Err(format!("another byte came back within {PART} of byte {received}").into());
                }
                received += part.len() as u64;
            }
        }
    }
    Ok(received)
}

/// Byte n of the message is n mod 251, so that one that is lost or moved shows.
fn pattern() -> Vec<u8> {
    (0..PART + PERIOD).map(|n| (n % PERIOD) as u8).collect()
}

fn phase(offset: u64) -> usize {
    (offset % PERIOD as u64) as usize
}

/// Bytes that are written at a time.
const PART: usize = 64 * 1024;
const PERIOD: usize = 251;

/// The peak of the resident set, as Linux tells it.
fn peak_memory() -> String {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            Some(line.trim().to_owned())
        })
        .unwrap_or_else(|| "unknown".into())
}
