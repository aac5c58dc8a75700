//! What a message holds its payload in: one word, behind which a short payload stands and a long one is shared.
//!
//! A message is moved several times between the input and the application, through futures that the compiler lays out in
//! memory. What is more than two words is moved there by wide loads of what narrow stores have just left, for which a CPU
//! waits until all before it is done. And most messages are short: to allocate and free one took as long as the rest of
//! receiving it. So packets are boxes that a thread keeps for its next messages.

use alloc::boxed::Box;
use core::fmt;

use bytes::Bytes;

use crate::mask;

/// A payload, immutable. It is told apart from another by its bytes alone.
pub(crate) struct Packet(Option<Box<Body>>);

/// The short payload comes first, so that it shares a cache line with its length.
#[repr(C)]
pub(super) struct Body {
    /// The length of a payload that stands here, or [`LONG`].
    length: u8,
    short: [u8; SHORTEST_SHARED - 1],
    long: Bytes,
}

impl Packet {
    /// Copies a payload, and undoes its masking by `key` on the way. `None` if it is too long to be copied here.
    #[inline]
    pub(crate) fn unmask(payload: &[u8], key: Option<[u8; 4]>) -> Option<Self> {
        let length = u8::try_from(payload.len()).ok()?;
        if payload.len() >= SHORTEST_SHARED {
            return None;
        }
        let mut body = pool::take();
        body.length = length;
        let short = body.short.get_mut(..payload.len())?;
        match key {
            Some(key) => mask::copy_to(payload, key, short),
            None => short.copy_from_slice(payload),
        }
        Some(Self(Some(body)))
    }

    /// Takes part in a payload that may have other owners.
    pub(crate) fn share(long: Bytes) -> Self {
        let mut body = pool::take();
        body.length = LONG;
        body.long = long;
        Self(Some(body))
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        let Some(body) = &self.0 else { return &[] };
        match body.short.get(..usize::from(body.length)) {
            Some(short) => short,
            None => &body.long,
        }
    }

    /// The payload on its own: copied if it is short.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        match &mut self.0 {
            Some(body) if body.length == LONG => core::mem::take(&mut body.long),
            _ => Bytes::copy_from_slice(self.as_bytes()),
        }
    }
}

impl From<&[u8]> for Packet {
    fn from(payload: &[u8]) -> Self {
        Self::unmask(payload, None).unwrap_or_else(|| Self::share(Bytes::from(Box::<[u8]>::from(payload))))
    }
}

impl Clone for Packet {
    fn clone(&self) -> Self {
        match &self.0 {
            Some(body) if body.length == LONG => Self::share(body.long.clone()),
            _ => Self::from(self.as_bytes()),
        }
    }
}

impl Drop for Packet {
    #[inline]
    fn drop(&mut self) {
        if let Some(mut body) = self.0.take() {
            if body.length == LONG {
                body.let_go();
            }
            pool::put(body);
        }
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packet").field(&self.as_bytes().len()).finish()
    }
}

impl Body {
    fn new() -> Box<Self> {
        Box::new(Self {
            length: 0,
            short: [0; SHORTEST_SHARED - 1],
            long: Bytes::new(),
        })
    }

    #[inline(never)]
    fn let_go(&mut self) {
        self.long = Bytes::new();
    }
}

/// Length of a payload from which on it is shared and not copied, in bytes. What a header of two bytes tells (at most 125) is
/// below, and with it most of chat, games and sensors.
const SHORTEST_SHARED: usize = 128;

/// Stands for the length of a payload that is shared.
const LONG: u8 = u8::MAX;

/// The packets that a thread keeps.
///
/// One of them stands in front: where a message is dropped before the next one comes, as it is where it is answered by
/// itself, that one goes back and forth, without a look at the list of the others.
#[cfg(feature = "std")]
mod pool {
    use alloc::boxed::Box;
    use alloc::vec::Vec;
    use core::cell::{Cell, RefCell};
    use std::thread_local;

    use super::Body;

    #[allow(
        clippy::vec_box,
        reason = "boxes are lent and come back: nothing is moved but a word"
    )]
    type Packets = RefCell<Vec<Box<Body>>>;

    thread_local! {
        static FRONT: Cell<Option<Box<Body>>> = const { Cell::new(None) };
        static PACKETS: Packets = const { RefCell::new(Vec::new()) };
    }

    #[inline]
    pub(super) fn take() -> Box<Body> {
        match FRONT.try_with(Cell::take) {
            Ok(Some(body)) => body,
            _ => take_other(),
        }
    }

    #[inline(never)]
    fn take_other() -> Box<Body> {
        // There is none either while the thread ends and its pool is gone.
        let kept = PACKETS.try_with(|packets| packets.borrow_mut().pop());
        kept.ok().flatten().unwrap_or_else(Body::new)
    }

    #[inline]
    pub(super) fn put(body: Box<Body>) {
        if let Ok(Some(other)) = FRONT.try_with(|front| front.replace(Some(body))) {
            put_other(other);
        }
    }

    #[inline(never)]
    fn put_other(body: Box<Body>) {
        let _ = PACKETS.try_with(|packets| {
            let mut packets = packets.borrow_mut();
            if packets.len() < KEPT {
                packets.push(body);
            }
        });
    }

    /// How many a thread keeps: 10 KiB at most. More are in use at once only where messages are kept or wait.
    const KEPT: usize = 63;
}

/// Without `std` there are no thread locals: a packet is allocated for each message.
#[cfg(not(feature = "std"))]
mod pool {
    use alloc::boxed::Box;

    use super::Body;

    pub(super) fn take() -> Box<Body> {
        Body::new()
    }

    pub(super) fn put(_: Box<Body>) {}
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;

    #[test]
    fn a_payload_of_any_length_comes_back() {
        for length in [0, 1, 16, 125, 126, 127, 128, 129, 254, 255, 256, 2048, 70_000] {
            let payload: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
            let packet = Packet::from(payload.as_slice());
            assert_eq!(packet.as_bytes(), payload);
            assert_eq!(packet.clone().as_bytes(), payload);
            let shared = Packet::share(payload.clone().into());
            assert_eq!(shared.as_bytes(), payload);
            assert_eq!(packet.into_bytes(), payload);
            assert_eq!(shared.clone().into_bytes(), payload);
            let masked = Packet::unmask(&payload, Some([0; 4]));
            assert_eq!(masked.is_some(), length < SHORTEST_SHARED);
            assert!(masked.is_none_or(|packet| packet.as_bytes() == payload));
        }
    }

    #[test]
    fn what_a_packet_held_is_in_no_later_one() {
        drop(Packet::from(&[7; 100][..]));
        let packet = Packet::unmask(&[1, 2, 3], Some([1, 1, 1, 1])).unwrap();
        assert_eq!(packet.as_bytes(), [0, 3, 2]);
        drop(packet);
        drop(Packet::share(vec![9; 1000].into()));
        assert_eq!(Packet::from(&[][..]).as_bytes(), []);
    }

    #[test]
    fn a_shared_payload_is_let_go_of() {
        let payload = Bytes::from(vec![1; 1000]);
        let shared = payload.clone();
        let packet = Packet::share(shared);
        assert!(!payload.is_unique());
        let other = packet.clone();
        assert_eq!(other.as_bytes().as_ptr(), payload.as_ptr());
        drop(packet);
        assert_eq!(other.into_bytes().as_ptr(), payload.as_ptr());
        assert!(payload.is_unique());
    }
}
