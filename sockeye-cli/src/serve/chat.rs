//! `/chat`: rooms of people who write to each other, in JSON.
//!
//! A client sends `{"type":"join","room":"lobby","name":"Ada"}`, again to change room or name, and
//! `{"type":"say","text":"…"}`. It gets [`Event`]s. A command that cannot be followed is answered with an error; what is
//! no command at all closes the connection, with 1003 for binary and 1008 for the rest.

mod rooms;

use serde::{Deserialize, Serialize};
use sockeye_engine::{CloseCode, CloseState, Payload, Socket};

pub(super) use self::rooms::{Rooms, Seat};
use super::json;

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

/// Follows a command; what is none closes the connection, with this code and reason.
pub(super) fn hear<D>(
    socket: &mut Socket<'_, D>,
    rooms: &Rooms,
    seat: &mut Seat,
    message: Payload<'_>,
) -> Result<(), (CloseCode, &'static str)> {
    // Who had to leave and has not noticed yet.
    if socket.state() != CloseState::Open {
        return Ok(());
    }
    let Payload::Text(text) = message else {
        return Err((CloseCode::UNSUPPORTED_DATA, "commands are text"));
    };
    let Ok(command) = serde_json::from_str(text) else {
        return Err((CloseCode::POLICY_VIOLATION, "not a join or say command in JSON"));
    };
    if let Err(refusal) = follow(socket, rooms, seat, command) {
        // By the way that what is said in rooms takes, and so after the answers to what was asked before.
        let _ = socket.handle().send(json(&Event::Error { text: refusal }));
    }
    Ok(())
}

/// Follows a command, or says why not.
fn follow<D>(socket: &mut Socket<'_, D>, rooms: &Rooms, seat: &mut Seat, command: Command) -> Result<(), &'static str> {
    match command {
        Command::Join { room, name } => {
            let (room, name) = (room.trim(), name.trim());
            if !is_length(name, MAX_NAME) {
                return Err("A name has 1 to 32 characters.");
            }
            if !is_length(room, MAX_NAME) {
                return Err("A room's name has 1 to 32 characters.");
            }
            rooms.join(socket, seat, room, name);
            Ok(())
        }
        Command::Say { text } if text.trim().is_empty() || !is_length(&text, MAX_TEXT) => {
            Err("A message has 1 to 2000 characters.")
        }
        // As it was written: the page finds its own messages by their text.
        Command::Say { text } => rooms.say(seat, &text),
    }
}

fn is_length(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.chars().count())
}

/// The longest name of a person or a room, in characters.
const MAX_NAME: usize = 32;

/// The longest message, in characters.
const MAX_TEXT: usize = 2000;
