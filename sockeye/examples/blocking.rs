//! Sends what is typed and prints what comes, with two threads and no runtime:
//! `cargo run --example blocking --features blocking -- ws://127.0.0.1:9001/`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::BufRead;

use sockeye::CloseCode;
use sockeye::blocking;

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001/".into());
    let (sender, mut receiver) = blocking::connect(&url)?.split()?;
    let sending = std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            sender.send(line)?;
        }
        sender.close(CloseCode::NORMAL, "end of input")
    });
    while let Some(message) = receiver.recv()? {
        println!("{}", message.as_text().unwrap_or("(binary)"));
    }
    // If the peer has closed, there is nobody left to send to, and the input may never end.
    if sending.is_finished() {
        sending.join().map_err(|_| "the sending thread has panicked")??;
    }
    Ok(())
}
