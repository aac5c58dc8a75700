//! How many connections a server takes, in all, of one address, and in their handshakes, and who has a place among them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::place::{Place, Stopping};
use crate::error::Full;

/// How many connections a [`Server`](crate::Server) takes.
///
/// Beyond the limit on handshakes it takes no more connections from the system, where they wait in the listeners'
/// backlogs (back-pressure). Beyond the limit on all connections it does the same, or answers 503 with
/// [`refuse_when_full`](Self::refuse_when_full). Beyond the limit on an address it answers that address 503, since others
/// wait behind it. An answer of 503 says `Retry-After: 5`. It takes a TLS handshake, if there is to be one, and a place
/// among the handshakes.
#[derive(Debug, Clone)]
#[must_use]
pub struct Limits {
    connections: usize,
    per_address: usize,
    handshakes: usize,
    refuse: bool,
    /// In whole seconds.
    retry_after: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            per_address: usize::MAX,
            handshakes: 1_024,
            refuse: false,
            retry_after: Some(5),
        }
    }
}

impl Limits {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most connections at one time, those in their handshakes included. Default: 100,000, which take about 140 MB
    /// while they idle, and as many file descriptors: most systems allow a process less until told otherwise.
    pub fn connections(mut self, most: usize) -> Self {
        self.connections = most;
        self
    }

    /// The most connections of one address at one time. An IPv6 network of 64 bits counts as one address, since that is
    /// what one subscriber has. Unix domain sockets have no address and are not counted.
    ///
    /// Default: no limit, since behind a proxy all connections come from one address.
    pub fn connections_per_address(mut self, most: usize) -> Self {
        self.per_address = most;
        self
    }

    /// The most handshakes under way at one time, from the accepted connection to the answer's last byte. Default: 1,024,
    /// which take 64 KiB each for a request of the greatest length, and about as much for TLS: 128 MiB.
    ///
    /// Each has 10 s by default, so that as many slow clients hold up a server for so long.
    pub fn handshakes(mut self, most: usize) -> Self {
        self.handshakes = most;
        self
    }

    /// Beyond the limit on all connections, answers 503 rather than let them wait in the system's backlog. Clients then
    /// know at once, and can go elsewhere; the server works for each of them. Default: false.
    pub fn refuse_when_full(mut self, refuse: bool) -> Self {
        self.refuse = refuse;
        self
    }

    /// What the server's own answers of 503 say in `Retry-After` (RFC 9110 §10.2.3), when it has no room or shuts down;
    /// rounded up to whole seconds. `None` leaves the header out. Default: 5 s, after which most overloads and restarts
    /// are over; clients that obey it cost a full server one handshake each in that time.
    pub fn retry_after(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.retry_after = wait
            .into()
            .map(|wait| wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)));
        self
    }
}

/// Who is there.
#[derive(Debug)]
pub(super) struct Registry {
    limits: Limits,
    handshakes: Semaphore,
    connections: Semaphore,
    present: Mutex<Present>,
    /// Told whenever a place becomes free.
    pub(super) freed: Notify,
    /// How the server shuts down, once it does.
    pub(super) stopping: watch::Sender<Option<Stopping>>,
}

/// The places that are taken. A slab, so that one costs two words and is found at once when it ends.
#[derive(Debug, Default)]
struct Present {
    places: Vec<Option<Weak<Place>>>,
    free: Vec<u32>,
    addresses: HashMap<Address, usize>,
    /// How those ended that were there when the server began to shut down.
    ended: Ended,
}

/// How connections ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ended {
    pub(super) closed: usize,
    pub(super) dropped: usize,
    pub(super) handshakes: usize,
}

impl Registry {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            handshakes: Semaphore::new(limits.handshakes.min(Semaphore::MAX_PERMITS)),
            connections: Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)),
            limits,
            present: Mutex::default(),
            freed: Notify::new(),
            stopping: watch::Sender::new(None),
        }
    }

    /// Waits until there is room for a handshake and, if it is to wait for that, for a connection.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub(super) async fn room(self: &Arc<Self>) -> Room {
        // The semaphores are never closed.
        if let Ok(permit) = self.handshakes.acquire().await {
            permit.forget();
        }
        let handshake = HandshakeSlot(self.clone());
        if self.limits.refuse {
            return Room {
                handshake,
                connection: None,
            };
        }
        if let Ok(permit) = self.connections.acquire().await {
            permit.forget();
        }
        Room {
            handshake,
            connection: Some(ConnectionSlot(self.clone())),
        }
    }

    /// How many connections there are, those in their handshakes included.
    pub(super) fn count(&self) -> usize {
        let present = self.present();
        present.places.len() - present.free.len()
    }

    /// How the server shuts down, if it does.
    pub(super) fn stopping(&self) -> Option<Stopping> {
        *self.stopping.borrow()
    }

    /// Tells all connections to leave.
    pub(super) fn begin_to_stop(&self, deadline: Instant) {
        // Outside of the lock, which a woken task's end would want.
        let places: Vec<_> = {
            let present = self.present();
            self.stopping.send_modify(|stopping| {
                let began = stopping.map_or_else(Instant::now, |earlier| earlier.began);
                let deadline = stopping.map_or(deadline, |earlier| earlier.deadline.min(deadline));
                *stopping = Some(Stopping { began, deadline });
            });
            present.places.iter().flatten().filter_map(Weak::upgrade).collect()
        };
        for place in places {
            place.leave();
        }
    }

    /// What answers of 503 say in `Retry-After`, in seconds.
    pub(super) fn retry_after(&self) -> Option<u64> {
        self.limits.retry_after
    }

    /// How connections have ended since the server began to shut down; those that are still there count as dropped.
    pub(super) fn ended(&self) -> Ended {
        let (mut ended, left): (_, Vec<_>) = {
            let present = self.present();
            let left = present.places.iter().flatten().map(Weak::upgrade).collect();
            (present.ended, left)
        };
        for place in left {
            match place {
                Some(place) => place.count_in(&mut ended),
                // It is just ending, and the time is over.
                None => ended.dropped += 1,
            }
        }
        ended
    }

    /// Takes a connection out that ends.
    pub(super) fn remove(&self, place: &Place) {
        let mut present = self.present();
        let stopping = self.stopping().is_some();
        present.remove(place, stopping);
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one connection that has not come yet.
#[derive(Debug)]
pub(super) struct Room {
    handshake: HandshakeSlot,
    connection: Option<ConnectionSlot>,
}

impl Room {
    /// Gives it to a connection from `address`, if the limits allow that; what is refused keeps the place among the
    /// handshakes for its answer.
    pub(super) fn give(self, address: Option<IpAddr>) -> (HandshakeSlot, Result<Arc<Place>, Full>) {
        let Self { handshake, connection } = self;
        let registry = handshake.0.clone();
        let connection = match connection {
            Some(connection) => connection,
            None => match registry.connections.try_acquire() {
                Ok(permit) => {
                    permit.forget();
                    ConnectionSlot(registry.clone())
                }
                Err(_) => return (handshake, Err(Full::Connections)),
            },
        };
        let place = registry.present().add(connection, address.map(Address::from));
        (handshake, place.ok_or(Full::Address))
    }
}

impl Present {
    /// Adds a connection, if its address has not too many.
    fn add(&mut self, connection: ConnectionSlot, address: Option<Address>) -> Option<Arc<Place>> {
        let registry = &connection.0;
        let address = address.filter(|_| registry.limits.per_address != usize::MAX);
        if let Some(address) = address {
            let count = self.addresses.get(&address).copied().unwrap_or(0);
            if count >= registry.limits.per_address {
                return None;
            }
            self.addresses.insert(address, count + 1);
        }
        // A process cannot have so many file descriptors.
        let next = u32::try_from(self.places.len()).ok()?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            next
        });
        let stopping = registry.stopping().is_some();
        let place = Arc::new(Place::new(connection, address, index, stopping));
        if let Some(entry) = self.places.get_mut(index as usize) {
            *entry = Some(Arc::downgrade(&place));
        }
        Some(place)
    }

    fn remove(&mut self, place: &Place, stopping: bool) {
        if let Some(entry) = self.places.get_mut(place.index as usize) {
            *entry = None;
            self.free.push(place.index);
        }
        if let Some(address) = place.address
            && let Some(count) = self.addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
        if stopping {
            place.count_in(&mut self.ended);
        }
    }
}

/// A place among the handshakes.
#[derive(Debug)]
pub(super) struct HandshakeSlot(pub(super) Arc<Registry>);

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        self.0.handshakes.add_permits(1);
    }
}

/// A place among the connections.
#[derive(Debug)]
pub(super) struct ConnectionSlot(pub(super) Arc<Registry>);

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.connections.add_permits(1);
        self.0.freed.notify_waiters();
    }
}

/// What counts as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Address {
    V4(u32),
    /// The first 64 bits: RFC 4291 §2.5.4 leaves the others to the subscriber.
    V6(u64),
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        // An IPv6 socket sees IPv4 clients as `::ffff:a.b.c.d`.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(registry: &Arc<Registry>, address: &str) -> Result<Arc<Place>, Full> {
        let handshake = HandshakeSlot(registry.clone());
        registry.handshakes.forget_permits(1);
        let room = Room {
            handshake,
            connection: None,
        };
        room.give(Some(address.parse().unwrap())).1
    }

    #[test]
    fn a_network_of_64_bits_counts_as_one_address() {
        let limits = Limits::new().connections_per_address(2).refuse_when_full(true);
        let registry = Arc::new(Registry::new(limits));
        let first = place(&registry, "2001:db8:0:1::1").unwrap();
        let _second = place(&registry, "2001:db8:0:1:ffff::2").unwrap();
        assert_eq!(place(&registry, "2001:db8:0:1::3").unwrap_err(), Full::Address);
        let _other = place(&registry, "2001:db8:0:2::1").unwrap();
        drop(first);
        let _third = place(&registry, "2001:db8:0:1::3").unwrap();
        assert_eq!(registry.count(), 3);
    }

    #[test]
    fn an_ipv4_address_is_the_same_on_an_ipv6_socket() {
        let limits = Limits::new().connections_per_address(1).refuse_when_full(true);
        let registry = Arc::new(Registry::new(limits));
        let only = place(&registry, "192.0.2.1").unwrap();
        assert_eq!(place(&registry, "::ffff:192.0.2.1").unwrap_err(), Full::Address);
        let _neighbour = place(&registry, "::ffff:192.0.2.2").unwrap();
        drop(only);
        place(&registry, "::ffff:192.0.2.1").unwrap();
    }

    #[test]
    fn what_is_over_leaves_nothing_behind() {
        let limits = Limits::new()
            .connections(2)
            .connections_per_address(2)
            .refuse_when_full(true);
        let registry = Arc::new(Registry::new(limits));
        for _ in 0..3 {
            let (_one, _two) = (place(&registry, "::1").unwrap(), place(&registry, "127.0.0.1").unwrap());
            assert_eq!(place(&registry, "127.0.0.2").unwrap_err(), Full::Connections);
        }
        assert_eq!(registry.count(), 0);
        assert_eq!(registry.present().places.len(), 2);
        assert!(registry.present().addresses.is_empty());
        assert_eq!(registry.handshakes.available_permits(), 1_024);
    }
}
