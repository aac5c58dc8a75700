//! Connections that are given away: they speak HTTP, and somebody else answers.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
#[cfg(feature = "tls")]
use std::task::ready;
use std::task::{Context, Poll};

use bytes::Bytes;
use mio::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::Stream;
use crate::wire::Wire;

/// Takes connections that are given away.
pub(crate) type HandOver = dyn Fn(HandedOver) + Send + Sync;

/// A connection that asks for no WebSocket, or has agreed on HTTP/2.
#[derive(Debug)]
pub struct HandedOver {
    wire: Wire,
    received: Vec<u8>,
}

impl HandedOver {
    pub(crate) fn new(wire: Wire, received: Vec<u8>) -> Self {
        Self { wire, received }
    }

    /// What it has said so far: a whole request, or nothing if it speaks HTTP/2.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// The protocol that was agreed on by ALPN.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.wire.alpn()
    }

    /// Whether it runs over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.wire.is_secure()
    }

    /// Where the peer is.
    ///
    /// # Errors
    ///
    /// It is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.wire.peer_addr()
    }

    /// The connection for a tokio runtime, whose context this has to be called in. What was received is read first.
    ///
    /// # Errors
    ///
    /// Those of registering the socket with the runtime.
    pub fn into_stream(self) -> io::Result<HandedStream> {
        let received = Bytes::from(self.received);
        Ok(match self.wire {
            Wire::Plain(tcp) => HandedStream {
                tcp: to_tokio(tcp)?,
                #[cfg(feature = "tls")]
                session: None,
                received,
            },
            #[cfg(feature = "tls")]
            Wire::Tls(tls) => {
                let (tcp, session) = tls.into_parts();
                HandedStream {
                    tcp: to_tokio(tcp)?,
                    session: Some(Box::new(session)),
                    received,
                }
            }
        })
    }
}

#[cfg(unix)]
fn to_tokio(tcp: TcpStream) -> io::Result<tokio::net::TcpStream> {
    tokio::net::TcpStream::from_std(std::net::TcpStream::from(std::os::fd::OwnedFd::from(tcp)))
}

#[cfg(windows)]
fn to_tokio(tcp: TcpStream) -> io::Result<tokio::net::TcpStream> {
    tokio::net::TcpStream::from_std(std::net::TcpStream::from(std::os::windows::io::OwnedSocket::from(tcp)))
}

/// A connection that was given away, in a tokio runtime.
#[derive(Debug)]
pub struct HandedStream {
    tcp: tokio::net::TcpStream,
    #[cfg(feature = "tls")]
    session: Option<Box<rustls::ServerConnection>>,
    received: Bytes,
}

impl AsyncRead for HandedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.received.is_empty() {
            let length = this.received.len().min(buffer.remaining());
            buffer.put_slice(&this.received.split_to(length));
            return Poll::Ready(Ok(()));
        }
        #[cfg(feature = "tls")]
        if this.session.is_some() {
            return this.poll_read_tls(cx, buffer);
        }
        Pin::new(&mut this.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for HandedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        #[cfg(feature = "tls")]
        if this.session.is_some() {
            return this.poll_write_tls(cx, bytes);
        }
        Pin::new(&mut this.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        #[cfg(feature = "tls")]
        ready!(this.poll_flush_tls(cx))?;
        Pin::new(&mut this.tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        #[cfg(feature = "tls")]
        {
            if let Some(session) = &mut this.session {
                session.send_close_notify();
            }
            ready!(this.poll_flush_tls(cx))?;
        }
        Pin::new(&mut this.tcp).poll_shutdown(cx)
    }
}

#[cfg(feature = "tls")]
mod tls {
    use std::io::{self, Read, Write};
    use std::task::{Context, Poll, ready};

    use tokio::io::ReadBuf;

    use super::HandedStream;

    /// A socket that is tried, and does not wait.
    struct Try<'a>(&'a tokio::net::TcpStream);

    impl Read for Try<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.try_read(buffer)
        }
    }

    impl Write for Try<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.try_write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl HandedStream {
        pub(super) fn poll_read_tls(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            loop {
                let Some(session) = &mut self.session else {
                    return Poll::Ready(Ok(()));
                };
                match session.reader().read(buffer.initialize_unfilled()) {
                    Ok(length) => {
                        buffer.advance(length);
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // A client of HTTP that ends TCP without a word in TLS has nothing more to ask.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
                    Err(error) => return Poll::Ready(Err(error)),
                }
                match session.read_tls(&mut Try(&self.tcp)) {
                    Ok(0) => return Poll::Ready(Ok(())),
                    Ok(_) => {
                        let processed = session.process_new_packets();
                        // Nobody waits for answers of TLS itself: they leave with what is written next, or now.
                        let _ = self.poll_flush_tls(cx)?;
                        processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.tcp.poll_read_ready(cx))?,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }

        pub(super) fn poll_write_tls(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            ready!(self.poll_flush_tls(cx))?;
            let Some(session) = &mut self.session else {
                return Poll::Ready(Ok(0));
            };
            let written = session.writer().write(bytes)?;
            let _ = self.poll_flush_tls(cx)?;
            Poll::Ready(Ok(written))
        }

        pub(super) fn poll_flush_tls(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let Some(session) = &mut self.session else {
                return Poll::Ready(Ok(()));
            };
            while session.wants_write() {
                match session.write_tls(&mut Try(&self.tcp)) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.tcp.poll_write_ready(cx))?,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            Poll::Ready(Ok(()))
        }
    }
}
