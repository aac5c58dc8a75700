//! Sends every message back: `cargo run --release -p sockeye-engine --example echo -- 127.0.0.1:9001`.

use std::env;
use std::error::Error;

use sockeye_engine::{Decision, Engine, Handler, Payload, ServerOptions, Socket, Upgrade};

struct Echo;

impl Handler for Echo {
    type Data = ();

    fn upgrade(&mut self, _request: &mut Upgrade<'_, ()>) -> Decision<()> {
        Decision::Accept(())
    }

    fn message(&mut self, socket: &mut Socket<'_, ()>, message: Payload<'_>) {
        // A client that does not read its answers loses those beyond the limit.
        let _ = socket.send(message);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let engine = Engine::builder(ServerOptions::default())
        .listen(address)?
        .start(|_shard| Echo)?;
    println!("listening on ws://{}/", engine.local_addrs()[0]);
    Ok(engine.join()?)
}
