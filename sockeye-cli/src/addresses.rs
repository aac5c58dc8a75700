//! `--max-per-address` on the engine: how many WebSockets an address has open.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockeye_engine::Rejection;

/// What all shards know of the addresses of their peers, if there is a limit.
#[derive(Debug, Clone)]
pub(crate) struct Addresses(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place among those of its address. Dropped, it is free.
#[derive(Debug)]
pub(crate) struct Place(Option<(Arc<Shared>, IpAddr)>);

impl Addresses {
    /// With this limit, if there is one.
    pub(crate) fn new(most: Option<usize>) -> Self {
        let shared = |most| {
            Arc::new(Shared {
                most,
                open: Mutex::default(),
            })
        };
        Self(most.map(shared))
    }

    /// A place for one more connection, unless the address has as many as it may.
    pub(crate) fn admit(&self, peer: Option<SocketAddr>) -> Result<Place, Rejection> {
        // A peer that is gone already has no address, and takes no place.
        let (Some(shared), Some(peer)) = (&self.0, peer) else {
            return Ok(Place(None));
        };
        let address = network(peer.ip());
        let mut open = shared.open();
        let count = open.entry(address).or_default();
        if *count >= shared.most {
            return Err(full());
        }
        *count += 1;
        Ok(Place(Some((shared.clone(), address))))
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((shared, address)) = &self.0 {
            let mut open = shared.open();
            if let Some(count) = open.get_mut(address) {
                *count -= 1;
                if *count == 0 {
                    open.remove(address);
                }
            }
        }
    }
}

/// What counts as one address: RFC 4291 §2.5.4 leaves the last 64 bits of IPv6 to the subscriber.
fn network(address: IpAddr) -> IpAddr {
    // An IPv6 socket sees IPv4 clients as `::ffff:a.b.c.d`.
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

fn full() -> Rejection {
    let rejection = Rejection::new(503).with_body("the address has as many connections as it may have\n");
    // RFC 9110 §10.2.3, in seconds.
    rejection.clone().with_header("Retry-After", "5").unwrap_or(rejection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Option<SocketAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_places_back_when_connections_end() {
        let addresses = Addresses::new(Some(1));
        let place = addresses.admit(peer("192.0.2.1:1")).unwrap();
        assert_eq!(addresses.admit(peer("[::ffff:192.0.2.1]:2")).unwrap_err().status(), 503);
        assert!(addresses.admit(peer("192.0.2.2:1")).is_ok());
        drop(place);
        assert!(addresses.admit(peer("192.0.2.1:3")).is_ok());
        assert!(
            addresses.0.unwrap().open().is_empty(),
            "nothing is kept of those that are gone"
        );
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_address() {
        let addresses = Addresses::new(Some(1));
        let _place = addresses.admit(peer("[2001:db8::1]:1")).unwrap();
        assert!(addresses.admit(peer("[2001:db8::ffff]:1")).is_err());
        assert!(addresses.admit(peer("[2001:db8:0:1::1]:1")).is_ok());
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let addresses = Addresses::new(None);
        for _ in 0..3 {
            assert!(addresses.admit(peer("192.0.2.1:1")).unwrap().0.is_none());
        }
    }
}
