//! Servers in threads, and a peer that speaks bytes rather than WebSocket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use sockeye::blocking::{self, WebSocket};
use sockeye::{AcceptError, Error, ServerOptions};

pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// A TCP connection to itself: the client's end, and the server's.
pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// Accepts one TCP connection and does with it what `serve` does, in a thread.
pub(crate) fn serve<R: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> R + Send + 'static,
) -> (SocketAddr, JoinHandle<R>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || serve(listener.accept().unwrap().0));
    (address, server)
}

/// Sends back what comes until the end.
pub(crate) fn echo<S: blocking::Transport>(ws: &mut WebSocket<S>) -> Result<(), Error> {
    while let Some(message) = ws.recv()? {
        ws.send(message)?;
    }
    Ok(())
}

/// A client and a server over TCP, with the defaults.
pub(crate) fn pair() -> (WebSocket<TcpStream>, WebSocket<TcpStream>) {
    pair_with(blocking::Client::builder(), &ServerOptions::default())
}

pub(crate) fn pair_with(
    client: blocking::ClientBuilder,
    server: &ServerOptions,
) -> (WebSocket<TcpStream>, WebSocket<TcpStream>) {
    let (near, far) = tcp_pair();
    let client = client.build().unwrap();
    let connecting = std::thread::spawn(move || client.connect_over(near, "ws://localhost/").unwrap());
    let far = blocking::accept(far, server).unwrap();
    (connecting.join().unwrap(), far)
}

/// What a server with these options makes of a peer that sends `bytes` and then reads to the end; and what that reads.
pub(crate) fn attack(options: ServerOptions, bytes: &[u8]) -> (Result<WebSocket<TcpStream>, AcceptError>, TcpStream) {
    let (mut near, far) = tcp_pair();
    near.write_all(bytes).unwrap();
    let accepting = std::thread::spawn(move || blocking::accept(far, &options));
    // The answer to the handshake, if there is one, is the caller's to read.
    (accepting.join().unwrap(), near)
}

/// A peer that has done the opening handshake as a client.
#[derive(Debug)]
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    /// With the server that it is connected to.
    pub(crate) fn connect(options: &ServerOptions) -> (Self, WebSocket<TcpStream>) {
        let (mut near, far) = tcp_pair();
        near.write_all(REQUEST).unwrap();
        let ws = blocking::accept(far, options).unwrap();
        let head = read_head(&mut near);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        (Self(near), ws)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next frame: its first byte and its payload, unmasked. `None` at the end.
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).ok()?;
        let mut length = [0; 8];
        let extended = match head[1] & 0x7f {
            126 => 2,
            127 => 8,
            short => {
                length[7] = short;
                0
            }
        };
        self.0.read_exact(&mut length[8 - extended..]).ok()?;
        let mut key = [0; 4];
        if head[1] & 0x80 != 0 {
            self.0.read_exact(&mut key).ok()?;
        }
        let mut payload = vec![0; usize::try_from(u64::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut payload).ok()?;
        payload
            .iter_mut()
            .zip(key.iter().cycle())
            .for_each(|(byte, key)| *byte ^= key);
        Some((head[0], payload))
    }

    /// Reads to the end, and answers the code of the Close that came, if one did.
    pub(crate) fn close_code(&mut self) -> Option<u16> {
        while let Some((first, payload)) = self.frame() {
            if first == CLOSE {
                return Some(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)));
            }
        }
        None
    }
}

/// Reads a request or a response to the empty line, and not a byte further.
pub(crate) fn read_head(io: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && io.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// The response that makes a WebSocket of this request.
pub(crate) fn upgraded(request: &str) -> Vec<u8> {
    let mut lines = request.lines();
    let key = lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let accept = sockeye::handshake::accept_key(key.unwrap().as_bytes());
    let head =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ";
    [&head[..], &accept, b"\r\n\r\n"].concat()
}

/// A frame as a client sends it, masked with zeroes.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8 | 0x80),
        medium @ 126..0x1_0000 => {
            frame.push(126 | 0x80);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127 | 0x80);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
