//! Servers on the engine, as its documentation shows them: an echo, or one room in which all hear what anyone says.

use std::error::Error;
use std::fs;
use std::time::Duration;

use server_args::{MAX_MESSAGE, ServerArgs, announce};
use sockeye::transport::tls;
use sockeye_engine::{
    Decision, DeflateOptions, Engine, EngineHandle, Handler, Payload, ServerOptions, ServerTls, Socket, Upgrade,
};

fn main() -> Result<(), Box<dyn Error>> {
    let args = ServerArgs::parse()?;
    ServerArgs::refuse(args.batched, "loop that is batched by hand: the engine batches")?;
    let mut options = ServerOptions::builder().max_message_size(MAX_MESSAGE);
    if args.deflate {
        options = options.deflate(DeflateOptions::server());
    }
    let builder = Engine::builder(options.build()?).threads(args.threads);
    let builder = match &args.tls {
        Some((chain, key)) => {
            let config = tls::server_config(&fs::read(chain)?, &fs::read(key)?)?;
            builder.listen_tls(args.address(), &ServerTls::from(config))?
        }
        None => builder.listen(args.address())?,
    };
    let mut announced = Ok(());
    let ready = |engine: &EngineHandle| {
        announced = announce(engine.local_addrs()[0]);
        if announced.is_err() {
            engine.shutdown(Duration::ZERO);
        }
    };
    match args.broadcast {
        true => builder.run(|_shard| Room, ready)?,
        false => builder.run(|_shard| Echo, ready)?,
    };
    Ok(announced?)
}

struct Echo;

/// 8 bytes of data a connection, as the others have: a handler that keeps nothing is not what people write.
impl Handler for Echo {
    type Data = u64;

    fn upgrade(&mut self, _request: &mut Upgrade<'_, u64>) -> Decision<u64> {
        Decision::Accept(0)
    }

    fn message(&mut self, socket: &mut Socket<'_, u64>, message: Payload<'_>) {
        *socket.data += 1;
        let _ = socket.send(message);
    }
}

struct Room;

impl Handler for Room {
    type Data = ();

    fn upgrade(&mut self, _request: &mut Upgrade<'_, ()>) -> Decision<()> {
        Decision::Accept(())
    }

    fn open(&mut self, socket: &mut Socket<'_, ()>) {
        let _ = socket.subscribe("room");
    }

    fn message(&mut self, socket: &mut Socket<'_, ()>, message: Payload<'_>) {
        let _ = socket.publish("room", message);
    }
}
