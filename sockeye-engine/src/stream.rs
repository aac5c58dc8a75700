//! What a connection reads from and writes to: TCP, TLS over it, or memory in tests.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;

/// A transport that never blocks.
pub(crate) trait Stream {
    /// Reads what is there. 0 is the end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes both, as much as there is room for.
    fn write(&mut self, bytes: &[u8], then: &[u8]) -> io::Result<usize>;

    /// Writes what the transport itself has held back; answers whether all has left.
    fn flush(&mut self) -> io::Result<bool>;

    /// Whether a read that did not fill its buffer has read all there is, until the system says otherwise.
    fn is_drained_by_short_read(&self) -> bool;

    /// Ends the sending side.
    fn shutdown(&mut self) -> io::Result<()>;

    /// Where the peer is.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// The certificates that the peer has shown, its own first, in DER.
    fn peer_certificates(&self) -> Option<Vec<Vec<u8>>> {
        None
    }

    /// Whether it is TLS.
    fn is_secure(&self) -> bool {
        false
    }

    /// The protocol that was agreed on by ALPN.
    fn alpn(&self) -> Option<&[u8]> {
        None
    }
}

/// One write of both, as much as there is room for, which may be nothing.
#[inline]
pub(crate) fn write_now(stream: &mut (impl Stream + ?Sized), bytes: &[u8], then: &[u8]) -> io::Result<usize> {
    match stream.write(bytes, then) {
        Ok(written) => Ok(written),
        Err(error) => write_again(stream, bytes, then, error),
    }
}

#[cold]
fn write_again(
    stream: &mut (impl Stream + ?Sized),
    bytes: &[u8],
    then: &[u8],
    mut error: io::Error,
) -> io::Result<usize> {
    loop {
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(0),
            io::ErrorKind::Interrupted => {}
            _ => return Err(error),
        }
        match stream.write(bytes, then) {
            Ok(written) => return Ok(written),
            Err(another) => error = another,
        }
    }
}

impl Stream for TcpStream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(self, buffer)
    }

    #[inline]
    fn write(&mut self, bytes: &[u8], then: &[u8]) -> io::Result<usize> {
        if then.is_empty() {
            return Write::write(self, bytes);
        }
        self.write_vectored(&[IoSlice::new(bytes), IoSlice::new(then)])
    }

    fn flush(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    // epoll(7): "the condition that the read/write I/O space is exhausted can also be detected by checking the amount of
    // data read from / written to the target file descriptor." The end of the stream is an event of its own.
    fn is_drained_by_short_read(&self) -> bool {
        true
    }

    fn shutdown(&mut self) -> io::Result<()> {
        Self::shutdown(self, Shutdown::Write)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Self::peer_addr(self)
    }
}
