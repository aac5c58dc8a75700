//! A chat with rooms: the path is the room, `ws://127.0.0.1:9001/kitchen`, and everyone in it hears what anyone says.
//!
//! `cargo run --release -p sockeye-engine --example rooms -- 127.0.0.1:9001`, and then
//! `sockeye connect ws://127.0.0.1:9001/kitchen` in two terminals. `ws://127.0.0.1:9001/%23` hears all rooms.

use std::env;
use std::error::Error;

use sockeye_engine::{
    CloseCode, Decision, End, Engine, Handler, Payload, Rejection, ServerOptions, SlowSubscriber, Socket, Upgrade,
};

struct Rooms;

/// What is kept for each connection.
struct Visitor {
    room: String,
}

impl Handler for Rooms {
    type Data = Visitor;

    fn upgrade(&mut self, request: &mut Upgrade<'_, Visitor>) -> Decision<Visitor> {
        let room = request.request().path().trim_start_matches('/').replace("%23", "#");
        match room.is_empty() {
            true => Decision::Reject(Rejection::new(404).with_body("the path is the name of a room\n")),
            false => Decision::Accept(Visitor { room }),
        }
    }

    fn open(&mut self, socket: &mut Socket<'_, Visitor>) {
        let room = socket.data.room.clone();
        if let Err(error) = socket.subscribe(&room) {
            // The reason is for people; that it cannot be told to one who has gone matters to nobody.
            let _ = socket.close(CloseCode::POLICY_VIOLATION, &error.to_string());
        }
    }

    fn message(&mut self, socket: &mut Socket<'_, Visitor>, message: Payload<'_>) {
        let room = socket.data.room.clone();
        if socket.publish(&room, message).is_err() {
            let _ = socket.send("this room is for listening");
        }
    }

    fn subscription(&mut self, _visitor: &mut Visitor, room: &str, before: usize, after: usize) {
        println!("{room}: {before} -> {after}");
    }

    fn close(&mut self, visitor: Visitor, end: End<'_>) {
        println!("{}: one left with {}", visitor.room, end.code);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let engine = Engine::builder(ServerOptions::default())
        .listen(address)?
        // Who does not keep up is disconnected, rather than left to miss something unawares.
        .slow_subscriber(SlowSubscriber::Close)
        .start(|_shard| Rooms)?;
    println!("listening on ws://{}/", engine.local_addrs()[0]);
    Ok(engine.join()?)
}
