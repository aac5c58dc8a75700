//! From a name to a TCP connection: resolution, and the race of the addresses (RFC 8305, Happy Eyeballs).
//!
//! Not done of RFC 8305: asking for both families apart (§3), which the system's resolver does itself, and sorting by what
//! earlier connections took (§4); addresses are taken in the order of the resolver, which follows RFC 6724.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::sleep;

use crate::error::{ConnectError, ProxyError};

/// The future of [`Resolve::resolve`].
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Finds the addresses of hosts, in place of the system's resolver: a cache, a service discovery, DNS over HTTPS.
///
/// Closures that take the host and the port and answer with a future are resolvers.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), sockeye::ConnectError> {
/// let client = sockeye::Client::builder()
///     .resolver(|host: String, port: u16| async move {
///         match host.as_str() {
///             "chat.internal" => Ok(vec![([10, 0, 0, 7], port).into(), ([10, 0, 0, 8], port).into()]),
///             _ => Err(std::io::ErrorKind::NotFound.into()),
///         }
///     })
///     .build()?;
/// # Ok(())
/// # }
/// ```
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, the best first, with `port` or another. It is never asked about an IP address.
    ///
    /// # Errors
    ///
    /// Shown as [`ConnectError::Resolve`]; so is an empty list.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the deadline passes.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

impl<F, R> Resolve for F
where
    F: Fn(String, u16) -> R + Send + Sync,
    R: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
{
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(self(host.to_owned(), port))
    }
}

/// How TCP connections are made.
#[derive(Clone)]
pub(super) struct Dialing {
    pub(super) resolver: Option<Arc<dyn Resolve>>,
    pub(super) local_address: Option<IpAddr>,
    pub(super) attempt_delay: Duration,
    pub(super) keepalive: Option<TcpKeepalive>,
}

impl Default for Dialing {
    fn default() -> Self {
        Self {
            resolver: None,
            local_address: None,
            attempt_delay: ATTEMPT_DELAY,
            keepalive: None,
        }
    }
}

impl Dialing {
    /// A TCP connection to the first address of `host` that takes it.
    pub(super) async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Unreached> {
        let mut addresses = self.resolve(host, port).await?;
        if let Some(local) = self.local_address {
            addresses.retain(|address| address.is_ipv4() == local.is_ipv4());
            if addresses.is_empty() {
                return Err(Unreached::Address(io::Error::new(
                    io::ErrorKind::AddrNotAvailable,
                    "the host has no address of the local address's family",
                )));
            }
        }
        race(&addresses, self.attempt_delay, |address| self.attempt(address))
            .await
            .map_err(Unreached::Address)
    }

    /// The addresses of `host` in the order in which they are tried; at least one.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Unreached> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![(address, port).into()]);
        }
        let found = match &self.resolver {
            Some(resolver) => resolver.resolve(host, port).await,
            None => lookup_host((host, port)).await.map(Iterator::collect),
        };
        let found: Vec<SocketAddr> = found.map_err(Unreached::Name)?;
        if found.is_empty() {
            return Err(Unreached::Name(io::Error::new(
                io::ErrorKind::NotFound,
                "the host has no address",
            )));
        }
        Ok(interleave(found))
    }

    async fn attempt(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // Messages are small and their senders have batched them: waiting for more only adds a round trip.
        socket.set_nodelay(true)?;
        if let Some(keepalive) = &self.keepalive {
            SockRef::from(&socket).set_tcp_keepalive(keepalive)?;
        }
        if let Some(local) = self.local_address {
            socket.bind((local, 0).into())?;
        }
        socket.connect(address).await
    }
}

impl fmt::Debug for Dialing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialing")
            .field("resolver", &self.resolver.as_ref().map_or("system", |_| "own"))
            .field("local_address", &self.local_address)
            .field("attempt_delay", &self.attempt_delay)
            .field("keepalive", &self.keepalive)
            .finish()
    }
}

/// Why a host was not reached.
#[derive(Debug)]
pub(super) enum Unreached {
    /// It has no address, or none is known.
    Name(io::Error),
    /// No address of it took the connection.
    Address(io::Error),
}

impl From<Unreached> for ConnectError {
    fn from(unreached: Unreached) -> Self {
        match unreached {
            Unreached::Name(error) => Self::Resolve(error),
            Unreached::Address(error) => Self::Connect(error),
        }
    }
}

impl From<Unreached> for ProxyError {
    fn from(unreached: Unreached) -> Self {
        match unreached {
            Unreached::Name(error) | Unreached::Address(error) => Self::Connect(error),
        }
    }
}

/// Alternates between the families, each in its own order.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    // RFC 8305 §4: "Next, the client SHOULD modify the ordered list to interleave address families. Whichever address
    // family is first in the list should be followed by an address of the other address family".
    let first_is_ipv4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == first_is_ipv4);
    let longest = first.len().max(second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    (0..longest)
        .flat_map(|_| [first.next(), second.next()])
        .flatten()
        .collect()
}

/// The first connection that stands. An attempt begins when the one before it has failed, or has not succeeded within
/// `delay`; those under way go on. If all fail, the error of the last to fail.
async fn race<S, F>(addresses: &[SocketAddr], delay: Duration, connect: impl Fn(SocketAddr) -> F) -> io::Result<S>
where
    F: Future<Output = io::Result<S>>,
{
    // RFC 8305 §5: "connection attempts SHOULD NOT be made simultaneously. Instead, one connection attempt to a single
    // address is started first, followed by the others in the list, one at a time. Starting a new connection attempt
    // does not affect previous attempts".
    let mut waiting = addresses.iter();
    let mut attempts: Vec<Pin<Box<F>>> = Vec::new();
    let mut pause = pin!(sleep(delay));
    let mut failure = None;
    // Dropped with this future, "all other connections attempts that have not yet succeeded SHOULD be canceled".
    poll_fn(move |cx| {
        loop {
            let before = attempts.len();
            let mut connected = None;
            attempts.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => {
                    connected = Some(stream);
                    false
                }
                Poll::Ready(Err(error)) => {
                    failure = Some(error);
                    false
                }
                Poll::Pending => true,
            });
            if let Some(stream) = connected {
                return Poll::Ready(Ok(stream));
            }
            let failed = attempts.len() < before;
            if !attempts.is_empty() && !failed && pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match waiting.next() {
                Some(&address) => {
                    attempts.push(Box::pin(connect(address)));
                    pause.set(sleep(delay));
                }
                None if attempts.is_empty() => {
                    return Poll::Ready(Err(failure.take().unwrap_or_else(|| io::ErrorKind::NotFound.into())));
                }
                None => return Poll::Pending,
            }
        }
    })
    .await
}

/// RFC 8305 §5: "One recommended value for a default delay is 250 milliseconds."
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// RFC 8305 §8: the least delay; it "MUST NOT be less than 10 milliseconds".
pub(super) const ATTEMPT_DELAY_MIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::Instant;

    use super::*;

    fn v6(n: u16) -> SocketAddr {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 80).into()
    }

    fn v4(n: u8) -> SocketAddr {
        ([192, 0, 2, n], 80).into()
    }

    #[test]
    fn rfc8305_4_families_alternate_from_the_first() {
        assert_eq!(
            interleave(vec![v6(1), v6(2), v6(3), v4(1)]),
            [v6(1), v4(1), v6(2), v6(3)]
        );
        assert_eq!(
            interleave(vec![v4(1), v6(1), v6(2), v4(2)]),
            [v4(1), v6(1), v4(2), v6(2)]
        );
        assert_eq!(interleave(vec![v4(2), v4(1)]), [v4(2), v4(1)]);
        assert_eq!(interleave(Vec::new()), []);
    }

    /// What an address does, and after how many milliseconds.
    #[derive(Clone, Copy)]
    enum Does {
        Connect(u64),
        Fail(u64),
        /// Answers nothing, for ever.
        Swallow,
    }

    /// Races addresses that behave like this; answers who won, when, and when each was tried, in milliseconds.
    async fn run(behaviours: &[Does], delay: u64) -> (Result<SocketAddr, String>, u64, Vec<u64>) {
        let start = Instant::now();
        let elapsed = || u64::try_from(start.elapsed().as_millis()).unwrap();
        let tried = RefCell::new(Vec::new());
        let addresses: Vec<_> = (0..behaviours.len()).map(|n| v4(n as u8)).collect();
        let raced = race(&addresses, Duration::from_millis(delay), |address| {
            tried.borrow_mut().push(elapsed());
            let index = addresses.iter().position(|other| *other == address).unwrap();
            async move {
                match behaviours[index] {
                    Does::Connect(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Ok(address)
                    }
                    Does::Fail(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Err(io::Error::other(index.to_string()))
                    }
                    Does::Swallow => std::future::pending().await,
                }
            }
        })
        .await;
        let (end, tried) = (elapsed(), tried.take());
        (raced.map_err(|error| error.to_string()), end, tried)
    }

    #[tokio::test(start_paused = true)]
    async fn rfc8305_5_the_next_begins_after_the_delay() {
        use Does::{Connect, Fail, Swallow};
        for (behaviours, winner, end, tried) in [
            (&[Connect(200), Connect(0)][..], Ok(v4(0)), 200, &[0][..]),
            (&[Swallow, Connect(10)], Ok(v4(1)), 260, &[0, 250]),
            (&[Swallow, Swallow, Connect(0)], Ok(v4(2)), 500, &[0, 250, 500]),
            // The first goes on while the second is tried, and may win.
            (&[Connect(300), Connect(100)], Ok(v4(0)), 300, &[0, 250]),
            // A failure does not wait for the delay.
            (&[Fail(5), Connect(10)], Ok(v4(1)), 15, &[0, 5]),
            (&[Swallow, Fail(5), Connect(10)], Ok(v4(2)), 265, &[0, 250, 255]),
            (&[Fail(300), Swallow, Connect(10)], Ok(v4(2)), 310, &[0, 250, 300]),
            (&[Fail(1), Fail(1)], Err("1".into()), 2, &[0, 1]),
            (&[Fail(400), Fail(1)], Err("0".into()), 400, &[0, 250]),
            (&[Fail(0), Connect(0)], Ok(v4(1)), 0, &[0, 0]),
        ] {
            assert_eq!(run(behaviours, 250).await, (winner, end, tried.to_vec()));
        }
        assert_eq!(run(&[Swallow, Connect(0)], 10).await.2, [0, 10]);
        assert_eq!(run(&[], 250).await.2, [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_without_end_is_no_panic() {
        let addresses = [v4(1), v4(2)];
        let raced = race(&addresses, Duration::MAX, |address| async move {
            match address == v4(1) {
                true => Err(io::Error::other("no")),
                false => Ok(address),
            }
        });
        assert_eq!(raced.await.unwrap(), v4(2));
    }
}
