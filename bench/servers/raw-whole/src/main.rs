//! The floor under whoever hands out whole messages: bytes go back as they came, but not before their frame is complete.
//!
//! Of a frame only the length is looked at. The thread has one buffer for all connections; a frame that is longer, or has
//! come in part, gets memory of its own.

use std::cell::RefCell;
use std::error::Error;
use std::io;

use server_args::{ServerArgs, announce};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What one read may bring, in bytes.
const BUFFER: usize = 64 * 1024;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = ServerArgs::parse()?;
    ServerArgs::refuse(args.deflate, "compression")?;
    ServerArgs::refuse(args.tls.is_some(), "TLS")?;
    ServerArgs::refuse(args.batched, "loop that is batched by hand")?;
    ServerArgs::refuse(args.broadcast || args.threads > 1, "broadcast and no threads")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.address()).await?;
        announce(listener.local_addr()?)?;
        loop {
            let (tcp, _) = listener.accept().await?;
            tcp.set_nodelay(true)?;
            tokio::spawn(async move {
                if let Err(error) = echo(tcp).await {
                    eprintln!("{error}");
                }
            });
        }
    })
}

async fn echo(mut tcp: TcpStream) -> io::Result<()> {
    loop {
        tcp.readable().await?;
        let (unsent, mut begun) = match INPUT.with_borrow_mut(|input| return_frames(&tcp, input)) {
            Ok(Some(left)) => left,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        tcp.write_all(&unsent).await?;
        if begun.is_empty() {
            continue;
        }
        while begun.len() < needed(&begun) {
            begun.reserve_exact(needed(&begun) - begun.len());
            if tcp.read_buf(&mut begun).await? == 0 {
                return Ok(());
            }
        }
        tcp.write_all(&begun).await?;
    }
}

/// Reads once and returns the frames that are whole: answers what of them the kernel did not take, and the frame that has
/// begun behind them. `None` at the end.
fn return_frames(tcp: &TcpStream, input: &mut [u8]) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let length = tcp.try_read(input)?;
    if length == 0 {
        return Ok(None);
    }
    let input = &input[..length];
    let mut end = 0;
    while end < length && needed(&input[end..]) <= length - end {
        end += needed(&input[end..]);
    }
    let sent = match tcp.try_write(&input[..end]) {
        _ if end == 0 => 0,
        Ok(sent) => sent,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    Ok(Some((input[sent..end].to_vec(), input[end..].to_vec())))
}

/// RFC 6455 §5.2: how long a masked frame is that begins so; at least so much, while its header is incomplete.
fn needed(frame: &[u8]) -> usize {
    match *frame {
        [_, second, a, b, ..] if second & 0x7F == 126 => 8 + usize::from(u16::from_be_bytes([a, b])),
        [_, second, a, b, c, d, e, f, g, h, ..] if second & 0x7F == 127 => {
            14 + u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize
        }
        [_, second, ..] if second & 0x7F < 126 => 6 + usize::from(second & 0x7F),
        [] | [_] => 2,
        [_, second, ..] => {
            if second & 0x7F == 126 {
                4
            } else {
                10
            }
        }
    }
}
