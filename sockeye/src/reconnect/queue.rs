//! The bounded queue of what is to be sent, as a data structure: who waits for room in it is in [`shared`](super::shared).

use std::collections::VecDeque;

use sockeye_proto::message::Message;

/// What happens to a message for which the queue has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// [`send`](super::Reconnecting::send) waits for room, for as long as that takes: nothing is lost, and the caller is held
    /// up.
    #[default]
    Wait,
    /// The message is refused, with [`QueueError::Full`](super::QueueError::Full): the newest is lost, and the caller knows.
    Refuse,
    /// Messages are dropped from the other end until there is room: the oldest are lost, and only
    /// [counted](super::Reconnecting::dropped). For positions, prices, and whatever else ages.
    DropOldest,
}

/// How much the queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) messages: usize,
    /// Of payload.
    pub(super) bytes: usize,
    pub(super) overflow: Overflow,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages: 1024,
            bytes: 1024 * 1024,
            overflow: Overflow::default(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    messages: VecDeque<Message>,
    bytes: usize,
    dropped: u64,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            messages: VecDeque::new(),
            bytes: 0,
            dropped: 0,
        }
    }

    /// An empty queue has room for any message: otherwise there would be some that could never be sent.
    fn has_room(&self, length: usize) -> bool {
        self.messages.is_empty()
            || (self.messages.len() < self.limits.messages && self.bytes.saturating_add(length) <= self.limits.bytes)
    }

    /// Appends the message, or gives it back if there is no room and none is made.
    pub(super) fn push(&mut self, message: Message) -> Result<(), Message> {
        while !self.has_room(message.len()) {
            if self.limits.overflow != Overflow::DropOldest {
                return Err(message);
            }
            self.pop();
            self.dropped += 1;
        }
        self.bytes += message.len();
        self.messages.push_back(message);
        Ok(())
    }

    pub(super) fn front(&self) -> Option<&Message> {
        self.messages.front()
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len();
        // What a burst needed is not kept once it has gone.
        if self.messages.is_empty() && self.messages.capacity() > RETAINED {
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    /// Empties the queue.
    pub(super) fn take(&mut self) -> Vec<Message> {
        self.bytes = 0;
        std::mem::take(&mut self.messages).into()
    }

    pub(super) fn overflow(&self) -> Overflow {
        self.limits.overflow
    }

    /// Of payload.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many messages were dropped for newer ones.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Capacity that an empty queue keeps, in messages.
const RETAINED: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(length: usize) -> Message {
        vec![7; length].into()
    }

    fn queue(messages: usize, bytes: usize, overflow: Overflow) -> Queue {
        Queue::new(Limits {
            messages,
            bytes,
            overflow,
        })
    }

    #[test]
    fn both_limits_are_exact() {
        let mut queue = queue(3, 10, Overflow::Refuse);
        queue.push(message(4)).unwrap();
        queue.push(message(6)).unwrap();
        assert_eq!(queue.push(message(1)), Err(message(1)));
        queue.push(message(0)).unwrap();
        assert_eq!(queue.push(message(0)), Err(message(0)));
        assert_eq!(queue.bytes(), 10);
        assert_eq!(queue.pop(), Some(message(4)));
        assert_eq!(queue.push(message(5)), Err(message(5)));
        queue.push(message(4)).unwrap();
        assert_eq!(queue.take(), [message(6), message(0), message(4)]);
        assert_eq!((queue.bytes(), queue.pop()), (0, None));
    }

    #[test]
    fn one_message_always_has_its_place() {
        for overflow in [Overflow::Refuse, Overflow::Wait, Overflow::DropOldest] {
            let mut queue = queue(0, 0, overflow);
            queue.push(message(100)).unwrap();
            assert_eq!(queue.push(message(0)).is_ok(), overflow == Overflow::DropOldest);
        }
    }

    #[test]
    fn the_oldest_make_room_and_no_more_of_them_than_need() {
        let mut queue = queue(10, 10, Overflow::DropOldest);
        for length in [3, 3, 3] {
            queue.push(message(length)).unwrap();
        }
        queue.push(message(4)).unwrap();
        assert_eq!((queue.dropped(), queue.bytes()), (1, 10));
        queue.push(message(11)).unwrap();
        assert_eq!((queue.dropped(), queue.bytes()), (4, 11));
        assert_eq!(queue.take(), [message(11)]);
    }

    proptest! {
        /// Against the limits as they are stated, and the order of a plain list.
        #[test]
        fn as_stated(
            messages in 1..6_usize,
            bytes in 0..40_usize,
            drop_oldest: bool,
            steps in prop::collection::vec(prop::option::weighted(0.7, 0..20_usize), 0..60),
        ) {
            let overflow = if drop_oldest { Overflow::DropOldest } else { Overflow::Refuse };
            let mut queue = queue(messages, bytes, overflow);
            let mut model: Vec<Message> = Vec::new();
            let mut dropped = 0;
            for (number, step) in steps.into_iter().enumerate() {
                let Some(length) = step else {
                    let first = (!model.is_empty()).then(|| model.remove(0));
                    prop_assert_eq!(queue.pop(), first);
                    continue;
                };
                let next = Message::from(vec![number as u8; length]);
                let over = |model: &[Message]| {
                    !model.is_empty()
                        && (model.len() + 1 > messages
                            || model.iter().map(Message::len).sum::<usize>() + length > bytes)
                };
                if drop_oldest {
                    while over(&model) {
                        model.remove(0);
                        dropped += 1;
                    }
                    prop_assert!(queue.push(next.clone()).is_ok());
                    model.push(next);
                } else if over(&model) {
                    prop_assert_eq!(queue.push(next.clone()), Err(next));
                } else {
                    prop_assert!(queue.push(next.clone()).is_ok());
                    model.push(next);
                }
                prop_assert_eq!(queue.bytes(), model.iter().map(Message::len).sum::<usize>());
                prop_assert_eq!(queue.dropped(), dropped);
            }
            prop_assert_eq!(queue.take(), model);
        }
    }
}
