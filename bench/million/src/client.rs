//! A client process: connections from an address of its own, which answer pings and count messages.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Socket, Type};

use crate::server::say;

/// The example of RFC 6455 §1.3, with which the answer is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Handshakes under way at a time: less than the system lets wait, of all processes together, at a listener.
const WINDOW: usize = 64;

/// The port of the first connection; the others follow. Linux chooses odd ports for those who name none and looks at all of
/// them, 14,116 by default, before an even one: from there on each connection takes it longer than all the rest of its way.
const FIRST_PORT: u16 = 10_000;

const WAKER: Token = Token(usize::MAX);

struct Client {
    poll: Poll,
    _waker: Arc<Waker>,
    streams: Vec<TcpStream>,
    /// The frame that is published.
    frame: Vec<u8>,
    buffer: Vec<u8>,
    delivered: u32,
}

pub(crate) fn run(port: u16, address: Ipv4Addr, connections: u32, size: usize) -> Result<()> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    // Lines, and then their end, wake the loop, for which the waker has to outlast the thread.
    let (tell, told) = channel();
    let wakes = waker.clone();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let _ = tell.send(line);
            let _ = wakes.wake();
        }
        drop(tell);
        let _ = wakes.wake();
    });
    let mut client = Client {
        poll,
        _waker: waker,
        streams: Vec::with_capacity(connections as usize),
        frame: frame(size),
        buffer: vec![0; 64 * 1024],
        delivered: 0,
    };
    let line = told.recv().context("there is nothing to do")?;
    ensure!(line == "connect", "a client knows nothing of `{line}`");
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while client.streams.len() < connections as usize {
        let most = WINDOW.min(connections as usize - client.streams.len());
        client.connect(server, address, most)?;
    }
    say("connected", connections)?;
    client.serve(&told, connections)
}

/// A frame as a server sends it.
fn frame(size: usize) -> Vec<u8> {
    let mut frame = vec![0x82];
    match size {
        0..126 => frame.push(size as u8),
        _ => {
            frame.push(126);
            frame.extend((size as u16).to_be_bytes());
        }
    }
    frame.resize(frame.len() + size, b'x');
    frame
}

impl Client {
    /// Opens so many connections, by turns on sockets that block.
    fn connect(&mut self, server: SocketAddr, address: Ipv4Addr, count: usize) -> Result<()> {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        let mut opening = Vec::with_capacity(count);
        let first = FIRST_PORT + self.streams.len() as u16;
        for port in (first..).take(count) {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            // So that a connection of an earlier run, which the system still remembers, is not in the way.
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((address, port)).into())?;
            socket.connect(&server.into())?;
            let mut stream = std::net::TcpStream::from(socket);
            stream.write_all(request.as_bytes())?;
            opening.push(stream);
        }
        for mut stream in opening {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let length = stream.read(&mut self.buffer)?;
                ensure!(length > 0, "a server closed a connection");
                head.extend_from_slice(&self.buffer[..length]);
            }
            let head = std::str::from_utf8(&head)?;
            ensure!(
                head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT),
                "a server answered {head}"
            );
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let token = Token(self.streams.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            self.streams.push(stream);
        }
        // Pings come also while others connect.
        self.turn(Some(Duration::ZERO))
    }

    /// Reads until stdin ends.
    fn serve(&mut self, told: &Receiver<String>, connections: u32) -> Result<()> {
        loop {
            self.turn(None)?;
            if self.delivered >= connections {
                self.delivered -= connections;
                say("delivered", connections)?;
            }
            match told.try_recv() {
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {}
                Ok(line) => bail!("a client knows nothing of `{line}`"),
            }
        }
    }

    fn turn(&mut self, timeout: Option<Duration>) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &events {
            if event.token() != WAKER {
                self.read(event.token().0)?;
            }
        }
        Ok(())
    }

    /// Reads what there is: frames of the published message, and pings.
    fn read(&mut self, number: usize) -> Result<()> {
        let stream = &mut self.streams[number];
        let length = match stream.read(&mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            read => read?,
        };
        ensure!(length > 0, "a server closed a connection");
        let mut rest = &self.buffer[..length];
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(&self.frame[..]) {
                self.delivered += 1;
                rest = after;
            } else if rest.len() >= 2 && rest[0] == 0x89 && rest.len() >= 2 + usize::from(rest[1]) {
                let (ping, after) = rest.split_at(2 + usize::from(rest[1]));
                let mut pong = vec![0x8a, 0x80 | ping[1], 0, 0, 0, 0];
                pong.extend_from_slice(&ping[2..]);
                stream.write_all(&pong)?;
                rest = after;
            } else {
                // Of frames that small, none comes in pieces while there is room.
                bail!(
                    "a server sent {} bytes that are neither the message nor a ping",
                    rest.len()
                );
            }
        }
        Ok(())
    }
}
