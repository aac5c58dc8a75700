//! TLS in the shard, by rustls.
//!
//! A session holds ciphertext only while a record is incomplete or the peer does not read; what is decrypted goes straight
//! to the shard's buffer.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use rustls::ServerConnection;
use sockeye::ServerTls;

use crate::stream::Stream;

#[derive(Debug)]
pub(crate) struct Tls {
    tcp: TcpStream,
    session: ServerConnection,
}

impl Tls {
    /// A session whose handshake is still to come: it is done as the stream is read.
    pub(crate) fn new(tcp: TcpStream, tls: &ServerTls) -> io::Result<Self> {
        let session = ServerConnection::new(tls.config()).map_err(io::Error::other)?;
        Ok(Self { tcp, session })
    }

    pub(crate) fn tcp_mut(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    /// The parts, for another driver.
    pub(crate) fn into_parts(self) -> (TcpStream, ServerConnection) {
        (self.tcp, self.session)
    }
}

impl Stream for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A peer that ends TCP without a word in TLS: the WebSocket's own Close tells whether anything is missing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            match self.session.read_tls(&mut self.tcp) {
                Ok(0) => return Ok(0),
                Ok(_) => {
                    let processed = self.session.process_new_packets();
                    // Handshakes, key updates and alerts have answers, the last also where it has failed.
                    let flushed = Stream::flush(self);
                    processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                    flushed?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self, bytes: &[u8], then: &[u8]) -> io::Result<usize> {
        // What has no room in TCP must not pile up here, where nobody counts it.
        if !Stream::flush(self)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // The session takes 64 KiB at a time. That it is full says nothing about TCP: no event would tell of room there.
        let mut written = 0;
        for mut bytes in [bytes, then] {
            while !bytes.is_empty() {
                let taken = self.session.writer().write(bytes)?;
                written += taken;
                bytes = &bytes[taken..];
                if !Stream::flush(self)? || taken == 0 {
                    return Ok(written);
                }
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn is_drained_by_short_read(&self) -> bool {
        false
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        Stream::flush(self)?;
        self.tcp.shutdown(Shutdown::Write)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }

    fn peer_certificates(&self) -> Option<Vec<Vec<u8>>> {
        let certificates = self.session.peer_certificates()?;
        Some(certificates.iter().map(|certificate| certificate.to_vec()).collect())
    }

    fn is_secure(&self) -> bool {
        true
    }

    fn alpn(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }
}
