//! Rooms: who is in them, and a short queue of messages for each.
//!
//! One lock holds all rooms; under it, messages are put into queues and nothing is waited for. A member whose queue is
//! full has stopped to read and leaves the room then and there, so that nobody waits for it and nothing grows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockeye::Prepared;
use tokio::sync::mpsc;

use super::Event;
use crate::serve::{Encoder, now};

#[derive(Debug)]
pub(in crate::serve) struct Rooms {
    encoder: Encoder,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rooms: HashMap<String, Room>,
    next: u64,
}

/// The members in the order in which they came.
#[derive(Debug, Default)]
struct Room {
    members: BTreeMap<u64, Member>,
}

#[derive(Debug)]
struct Member {
    name: String,
    queue: mpsc::Sender<Prepared>,
}

impl Rooms {
    pub(in crate::serve) fn new(encoder: Encoder) -> Self {
        Self {
            encoder,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a member out of a room, and the room away with the last one.
    fn remove(&mut self, room: &str, id: u64) -> Option<Member> {
        let members = &mut self.rooms.get_mut(room)?.members;
        let member = members.remove(&id);
        if members.is_empty() {
            self.rooms.remove(room);
        }
        member
    }

    /// Tells a room who is there. Those who turn out not to read are not, which the others are told in turn.
    fn tell_people(&mut self, room: &str, encoder: &Encoder) {
        while let Some(members) = self.rooms.get(room) {
            let event = encoder.encode(&Event::People {
                people: &members.people(),
            });
            if !self.publish(room, &event) {
                break;
            }
        }
    }

    /// Puts a message into each queue of a room; true if that made somebody leave.
    fn publish(&mut self, room: &str, event: &Prepared) -> bool {
        let Some(Room { members }) = self.rooms.get_mut(room) else {
            return false;
        };
        let before = members.len();
        members.retain(|_, member| member.queue.try_send(event.clone()).is_ok());
        let left = members.len() < before;
        if members.is_empty() {
            self.rooms.remove(room);
        }
        left
    }
}

impl Room {
    fn people(&self) -> Vec<&str> {
        self.members.values().map(|member| member.name.as_str()).collect()
    }
}

/// The place of one connection: in a room, or in none yet. Dropped, it is left.
#[derive(Debug)]
pub(super) struct Seat {
    rooms: Arc<Rooms>,
    taken: Option<Taken>,
}

#[derive(Debug)]
struct Taken {
    room: String,
    id: u64,
    queue: mpsc::Receiver<Prepared>,
}

impl Seat {
    pub(super) fn new(rooms: Arc<Rooms>) -> Self {
        Self { rooms, taken: None }
    }

    /// Enters a room under a name, or changes either.
    pub(super) fn join(&mut self, room: &str, name: &str) {
        let rooms = &*self.rooms;
        let state = &mut *rooms.state();
        let (id, queue) = match &mut self.taken {
            None => {
                let (sender, queue) = mpsc::channel(QUEUE);
                let id = state.next;
                state.next += 1;
                self.taken = Some(Taken {
                    room: room.into(),
                    id,
                    queue,
                });
                (id, sender)
            }
            Some(taken) => {
                // Gone already, for not reading: the end of the queue is about to be told.
                let Some(member) = state.remove(&taken.room, taken.id) else {
                    return;
                };
                if taken.room != room {
                    state.tell_people(&taken.room, &rooms.encoder);
                    room.clone_into(&mut taken.room);
                }
                (taken.id, member.queue)
            }
        };
        let member = Member {
            name: name.into(),
            queue: queue.clone(),
        };
        let entered = state.rooms.entry(room.into()).or_default();
        entered.members.insert(id, member);
        let joined = rooms.encoder.encode(&Event::Joined {
            room,
            name,
            people: &entered.people(),
        });
        // A full queue is found out by what follows.
        let _ = queue.try_send(joined);
        drop(queue);
        state.tell_people(room, &rooms.encoder);
    }

    /// Says something to all in the room.
    pub(super) fn say(&self, text: &str) -> Result<(), &'static str> {
        let Some(Taken { room, id, .. }) = &self.taken else {
            return Err("Join a room first.");
        };
        let rooms = &*self.rooms;
        let state = &mut *rooms.state();
        let member = state.rooms.get(room).and_then(|room| room.members.get(id));
        if let Some(member) = member {
            let event = rooms.encoder.encode(&Event::Message {
                name: &member.name,
                text,
                at: now(),
            });
            if state.publish(room, &event) {
                state.tell_people(room, &rooms.encoder);
            }
        }
        Ok(())
    }

    /// The next message for this member: it waits while there is no room; `None` when the member had to leave for not
    /// reading.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub(super) async fn next(&mut self) -> Option<Prepared> {
        match &mut self.taken {
            Some(taken) => taken.queue.recv().await,
            None => std::future::pending().await,
        }
    }

    /// The messages that are there already.
    pub(super) fn waiting(&mut self) -> Vec<Prepared> {
        let Some(taken) = &mut self.taken else {
            return Vec::new();
        };
        std::iter::from_fn(|| taken.queue.try_recv().ok()).collect()
    }

    pub(super) fn leave(&mut self) {
        if let Some(taken) = self.taken.take() {
            let state = &mut *self.rooms.state();
            state.remove(&taken.room, taken.id);
            state.tell_people(&taken.room, &self.rooms.encoder);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Messages that wait for a member. They are shared with the others in the room.
const QUEUE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms() -> Arc<Rooms> {
        Arc::new(Rooms::new(Encoder { deflate: None }))
    }

    fn received(seat: &mut Seat) -> Vec<String> {
        let messages = seat.waiting();
        let text = |message: Prepared| String::from_utf8(message.payload().to_vec()).unwrap();
        messages.into_iter().map(text).collect()
    }

    #[test]
    fn who_joins_is_told_first_and_then_all() {
        let rooms = rooms();
        let (mut ada, mut bob) = (Seat::new(rooms.clone()), Seat::new(rooms));
        ada.join("lobby", "Ada");
        received(&mut ada);
        bob.join("lobby", "Bob");
        let people = r#"{"type":"people","people":["Ada","Bob"]}"#;
        let joined = r#"{"type":"joined","room":"lobby","name":"Bob","people":["Ada","Bob"]}"#;
        assert_eq!(received(&mut ada), [people]);
        assert_eq!(received(&mut bob), [joined, people]);
    }

    #[test]
    fn a_change_of_room_tells_both_and_a_drop_leaves() {
        let rooms = rooms();
        let (mut ada, mut bob) = (Seat::new(rooms.clone()), Seat::new(rooms.clone()));
        ada.join("lobby", "Ada");
        bob.join("lobby", "Bob");
        received(&mut ada);
        bob.join("pool", "Robert");
        assert_eq!(received(&mut ada), [r#"{"type":"people","people":["Ada"]}"#]);
        assert!(received(&mut bob).contains(&r#"{"type":"people","people":["Robert"]}"#.to_owned()));
        drop((ada, bob));
        assert!(rooms.state().rooms.is_empty(), "empty rooms are not kept");
    }

    #[test]
    fn m8_a_member_that_does_not_read_leaves_and_the_others_go_on() {
        let rooms = rooms();
        let (mut ada, mut slow) = (Seat::new(rooms.clone()), Seat::new(rooms));
        ada.join("lobby", "Ada");
        slow.join("lobby", "Slow");
        let mut last = Vec::new();
        for _ in 0..2 * QUEUE {
            ada.say("hello").unwrap();
            last = received(&mut ada);
            if last.len() > 1 {
                break;
            }
        }
        assert_eq!(last.last().unwrap(), r#"{"type":"people","people":["Ada"]}"#);
        assert_eq!(received(&mut slow).len(), QUEUE, "what came before is still there");
        // A command of somebody who had to leave does not bring them back.
        slow.join("lobby", "Slow");
        slow.say("I am here").unwrap();
        assert!(received(&mut ada).is_empty());
        let end = std::pin::pin!(slow.next()).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert!(matches!(end, std::task::Poll::Ready(None)));
    }

    #[test]
    fn nothing_is_said_before_a_room_is_joined() {
        assert!(Seat::new(rooms()).say("hello").is_err());
    }
}
