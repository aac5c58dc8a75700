//! Where connections come from: TCP and Unix domain sockets, of one's own or inherited.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

#[cfg(feature = "tls")]
use super::tls::ServerTls;

/// A listening socket of a [`Server`](crate::Server).
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye::{Listener, Server};
///
/// let server = Server::builder()
///     .listener(Listener::bind("127.0.0.1:9001").await?)
///     .listener(Listener::bind("[::1]:9001").await?)
///     .build();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
    #[cfg(feature = "tls")]
    tls: Option<ServerTls>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Listener {
    /// Listens on a TCP address; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// When the address cannot be resolved or is taken.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self::from)
    }

    /// Listens on a Unix domain socket at `path`, which must not exist. Who may connect is a matter of the directory's
    /// permissions. The file stays when the server ends; remove it before the next start.
    ///
    /// # Errors
    ///
    /// When the path is taken, too long, or in a directory that cannot be written.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    #[cfg(unix)]
    pub fn bind_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        UnixListener::bind(path).map(Self::from)
    }

    /// Takes over a TCP socket that listens already, for example one that a supervisor opened and handed down.
    ///
    /// # Errors
    ///
    /// When it cannot be made non-blocking.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Self::from)
    }

    /// The same for a Unix domain socket.
    ///
    /// # Errors
    ///
    /// As [`from_std`](Self::from_std).
    ///
    /// # Panics
    ///
    /// As [`from_std`](Self::from_std).
    #[cfg(unix)]
    pub fn from_std_unix(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener).map(Self::from)
    }

    /// Puts the connections of this listener under TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: impl Into<ServerTls>) -> Self {
        self.tls = Some(tls.into());
        self
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    /// The next connection.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Accepted, Address)>> {
        match &self.socket {
            Socket::Tcp(listener) => listener
                .poll_accept(cx)
                .map_ok(|(tcp, peer)| (Accepted::Tcp(tcp), Address::Tcp(peer))),
            #[cfg(unix)]
            Socket::Unix(listener) => listener.poll_accept(cx).map_ok(|(unix, peer)| {
                let path = peer.as_pathname().map(Path::to_owned);
                (Accepted::Unix(unix), Address::Unix(path))
            }),
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        // A listening socket has an address; the other case is for the type.
        let address = listener
            .local_addr()
            .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        Self {
            socket: Socket::Tcp(listener),
            address: Address::Tcp(address),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        let path = listener
            .local_addr()
            .ok()
            .and_then(|address| address.as_pathname().map(Path::to_owned));
        Self {
            socket: Socket::Unix(listener),
            address: Address::Unix(path),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// A connection that has just come.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// One end of a connection, or of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix domain socket; clients mostly have no path.
    #[cfg(unix)]
    Unix(Option<PathBuf>),
}

impl Address {
    /// The address and port, unless it is a Unix domain socket.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    /// The IP address, unless it is a Unix domain socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.tcp().map(|address| address.ip())
    }
}

/// As in `127.0.0.1:9001`, `unix:/run/chat.sock`, `unix:`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix:{}", path.as_deref().unwrap_or(Path::new("")).display()),
        }
    }
}
