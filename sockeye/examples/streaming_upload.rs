//! Uploads a stream as one message of unknown length, and hashes it on the server, both in constant memory.
//!
//! ```text
//! cargo run --example streaming_upload                     # 1 GiB of zeros, between two tasks of this program
//! cargo run --example streaming_upload -- 64MiB.bin        # a file
//! ```

use std::error::Error;
use std::hash::{DefaultHasher, Hasher};

use sockeye::{Client, CloseCode, MessageKind, Server, ServerOptions};
use tokio::io::{AsyncRead, AsyncReadExt};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // Whole messages are held in memory, and stay limited to 1 MiB. Uploads are not held, and may be long.
    let options = ServerOptions::builder().max_chunked_size(1 << 40).build()?;
    let server = Server::bind("127.0.0.1:0", options).await?;
    let url = format!("ws://{}/upload", server.local_addr()?);
    let serving = tokio::spawn(serve(server));

    let mut upload: Box<dyn AsyncRead + Send + Unpin> = match std::env::args_os().nth(1) {
        Some(path) => Box::new(tokio::fs::File::open(path).await?),
        None => Box::new(tokio::io::repeat(0).take(1 << 30)),
    };
    let mut ws = Client::builder().build()?.connect(&url).await?;
    let mut message = ws.write_message(MessageKind::Binary);
    // Waits while the server is slower than the disk.
    let sent = tokio::io::copy(&mut upload, &mut message).await?;
    message.finish().await?;
    println!("sent {sent} bytes");
    if let Some(receipt) = ws.recv().await? {
        println!("the server says: {}", receipt.as_text().unwrap_or_default());
    }
    ws.close(CloseCode::NORMAL, "").await?;
    serving.await?
}

/// Answers each upload of the first client with its length and its hash.
async fn serve(server: Server) -> Result<(), Failure> {
    let mut ws = server.accept().await?.accept().await?;
    while let Some(mut upload) = ws.read_message().await? {
        let (mut length, mut hash) = (0, DefaultHasher::new());
        while let Some(chunk) = upload.chunk().await? {
            length += chunk.len();
            hash.write(&chunk);
        }
        ws.send(format!("{length} bytes, hash {:016x}", hash.finish())).await?;
    }
    Ok(())
}
