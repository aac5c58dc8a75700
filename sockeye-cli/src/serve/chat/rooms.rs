//! Rooms: who is in them. Each is a topic of the engine's, which brings what is said there to all.
//!
//! One lock holds all rooms, of all shards. What is said is published under it, and so everybody in a room gets the same
//! in the same order. Publishing waits for nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use sockeye_engine::{Publisher, Socket};

use super::Event;
use crate::serve::{json, now};

#[derive(Debug, Default)]
pub(in crate::serve) struct Rooms {
    state: Mutex<State>,
    /// There is one as soon as somebody has joined.
    publisher: OnceLock<Publisher>,
}

#[derive(Debug, Default)]
struct State {
    rooms: HashMap<String, Room>,
    /// The next number, of a member or a room.
    next: u64,
}

#[derive(Debug)]
struct Room {
    /// By number, since a name may have wildcards in it.
    topic: String,
    /// Names, in the order in which their people came to the chat.
    members: BTreeMap<u64, String>,
}

/// The place of one connection: in a room, or in none.
#[derive(Debug, Default)]
pub(in crate::serve) struct Seat(Option<Taken>);

#[derive(Debug)]
struct Taken {
    room: String,
    topic: String,
    id: u64,
}

impl Rooms {
    /// Has somebody enter a room under a name, or change either. Who joined is told first, and then all.
    pub(super) fn join<D>(&self, socket: &mut Socket<'_, D>, seat: &mut Seat, room: &str, name: &str) {
        let publisher = self.publisher.get_or_init(|| socket.publisher());
        let state = &mut *self.state();
        let id = match seat.0.take() {
            Some(taken) => {
                state.remove(&taken.room, taken.id);
                if taken.room != room {
                    socket.unsubscribe(&taken.topic);
                    state.tell_people(&taken.room, publisher);
                }
                taken.id
            }
            None => state.number(),
        };
        let topic = state.enter(room, id, name);
        // A connection has this one subscription, which no limit forbids.
        let _ = socket.subscribe(&topic);
        let joined = Event::Joined {
            room,
            name,
            people: &state.people(room),
        };
        // In line with what is published.
        let _ = socket.handle().send(json(&joined));
        state.tell_people(room, publisher);
        let room = room.to_owned();
        seat.0 = Some(Taken { room, topic, id });
    }

    /// Says something to all in the room.
    pub(super) fn say(&self, seat: &Seat, text: &str) -> Result<(), &'static str> {
        let (Some(Taken { room, id, .. }), Some(publisher)) = (&seat.0, self.publisher.get()) else {
            return Err("Join a room first.");
        };
        let state = self.state();
        if let Some(room) = state.rooms.get(room)
            && let Some(name) = room.members.get(id)
        {
            let at = now();
            room.publish(publisher, &Event::Message { name, text, at });
        }
        Ok(())
    }

    /// Has somebody leave the room, of which those who stay are told.
    pub(in crate::serve) fn leave(&self, seat: &mut Seat) {
        if let (Some(taken), Some(publisher)) = (seat.0.take(), self.publisher.get()) {
            let state = &mut *self.state();
            state.remove(&taken.room, taken.id);
            state.tell_people(&taken.room, publisher);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Puts a member into a room, which is made if there is none. Answers its topic.
    fn enter(&mut self, room: &str, id: u64, name: &str) -> String {
        if !self.rooms.contains_key(room) {
            let topic = format!("room/{}", self.number());
            let members = BTreeMap::new();
            self.rooms.insert(room.to_owned(), Room { topic, members });
        }
        let Some(room) = self.rooms.get_mut(room) else {
            return String::new();
        };
        room.members.insert(id, name.to_owned());
        room.topic.clone()
    }

    /// Takes a member out of a room, and the room away with the last one.
    fn remove(&mut self, room: &str, id: u64) {
        if let Some(Room { members, .. }) = self.rooms.get_mut(room) {
            members.remove(&id);
            if members.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    fn people(&self, room: &str) -> Vec<&str> {
        let members = self.rooms.get(room).map(|room| room.members.values());
        members.into_iter().flatten().map(String::as_str).collect()
    }

    /// Tells a room who is there.
    fn tell_people(&self, room: &str, publisher: &Publisher) {
        if let Some(found) = self.rooms.get(room) {
            let people = &self.people(room);
            found.publish(publisher, &Event::People { people });
        }
    }
}

impl Room {
    fn publish(&self, publisher: &Publisher, event: &Event<'_>) {
        // The name is one; a shard that is full, of which the engine's metrics tell, holds up nobody else.
        let _ = publisher.publish(&self.topic, json(event).as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_in_the_order_in_which_they_came() {
        let mut state = State::default();
        let (ada, bob) = (state.number(), state.number());
        let lobby = state.enter("lobby", bob, "Bob");
        assert_eq!(state.enter("lobby", ada, "Ada"), lobby);
        assert_eq!(state.people("lobby"), ["Ada", "Bob"]);
        assert_ne!(state.enter("#", bob, "Robert"), lobby);
        assert_eq!(state.people("#"), ["Robert"]);
    }

    #[test]
    fn rooms_that_are_empty_are_not_kept() {
        let mut state = State::default();
        let ada = state.number();
        let first = state.enter("lobby", ada, "Ada");
        state.remove("lobby", ada);
        state.remove("lobby", ada);
        assert!(state.rooms.is_empty() && state.people("lobby").is_empty());
        assert_ne!(
            state.enter("lobby", ada, "Ada"),
            first,
            "what was on its way is not for those who come later"
        );
    }
}
