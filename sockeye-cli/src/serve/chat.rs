//! `/chat`: rooms of people who write to each other, in JSON.
//!
//! A client sends `{"type":"join","room":"lobby","name":"Ada"}`, again to change room or name, and
//! `{"type":"say","text":"…"}`. It gets [`Event`]s. A command that cannot be followed is answered with an error; what is
//! no command at all closes the connection, with 1003 for binary and 1008 for the rest.

mod rooms;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sockeye::transport::Stream;
use sockeye::{CloseCode, Message, WebSocket};

pub(super) use self::rooms::Rooms;
use self::rooms::Seat;
use super::{End, hold, json, patiently};

/// What a client may ask for.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Command {
    Join { room: String, name: String },
    Say { text: String },
}

/// What a client gets.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Event<'a> {
    /// To who joined: room and name as they are now, and who is there.
    Joined {
        room: &'a str,
        name: &'a str,
        people: &'a [&'a str],
    },
    /// To all in the room, when it changed who is there.
    People { people: &'a [&'a str] },
    /// To all in the room, the sender among them; `at` is in milliseconds since 1970.
    Message { name: &'a str, text: &'a str, at: u64 },
    /// To who sent a command that was refused.
    Error { text: &'a str },
}

/// Follows commands until the client closes or the server shuts down.
pub(super) async fn converse(ws: WebSocket<Stream>, rooms: Arc<Rooms>) {
    let mut seat = Seat::new(rooms);
    hold(ws, async |ws| match chat(ws, &mut seat).await {
        Ok(()) => End::Over,
        Err(end) => {
            // A closing handshake may take its time; the room need not wait for it.
            seat.leave();
            end
        }
    })
    .await;
}

async fn chat(ws: &mut WebSocket<Stream>, seat: &mut Seat) -> Result<(), End> {
    loop {
        tokio::select! {
            message = ws.recv() => {
                let Some(message) = message? else { return Ok(()) };
                if let Err(refusal) = follow(seat, command(&message)?) {
                    // After the answers to what was asked before.
                    for message in seat.waiting() {
                        patiently(ws.send_prepared(&message)).await?;
                    }
                    patiently(ws.send(json(&Event::Error { text: refusal }))).await?;
                }
            }
            event = seat.next() => match event {
                Some(event) => patiently(ws.send_prepared(&event)).await?,
                None => return Err(End::Close(CloseCode::POLICY_VIOLATION, super::NOT_READ)),
            },
        }
    }
}

fn command(message: &Message) -> Result<Command, End> {
    let text = message
        .as_text()
        .ok_or(End::Close(CloseCode::UNSUPPORTED_DATA, "commands are text"))?;
    serde_json::from_str(text).map_err(|_| End::Close(CloseCode::POLICY_VIOLATION, NO_COMMAND))
}

/// Follows a command, or says why not.
fn follow(seat: &mut Seat, command: Command) -> Result<(), &'static str> {
    match command {
        Command::Join { room, name } => {
            let (room, name) = (room.trim(), name.trim());
            if !is_length(name, MAX_NAME) {
                return Err("A name has 1 to 32 characters.");
            }
            if !is_length(room, MAX_NAME) {
                return Err("A room's name has 1 to 32 characters.");
            }
            seat.join(room, name);
            Ok(())
        }
        Command::Say { text } if text.trim().is_empty() || !is_length(&text, MAX_TEXT) => {
            Err("A message has 1 to 2000 characters.")
        }
        // As it was written: the page finds its own messages by their text.
        Command::Say { text } => seat.say(&text),
    }
}

fn is_length(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.chars().count())
}

/// The longest name of a person or a room, in characters.
const MAX_NAME: usize = 32;

/// The longest message, in characters.
const MAX_TEXT: usize = 2000;

const NO_COMMAND: &str = "not a join or say command in JSON";
