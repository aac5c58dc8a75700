//! Runs the built program and talks to it. Every wait is for a line, a message or an end.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use sockeye::transport::Stream;
use sockeye::{Client, CloseCode, Event, WebSocket};

pub(crate) fn sockeye() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sockeye"))
}

/// Runs to the end, with this on stdin.
pub(crate) fn run(arguments: &[&str], input: &[u8]) -> Ended {
    let mut child = sockeye()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // In a thread, since the program may write before it has read all. It may also end without reading.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.into()
}

#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("the program ends by itself"),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    pub(crate) fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

/// A program that runs until it is told to end, at the latest when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(sockeye().args(arguments))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            stderr: BufReader::new(child.stderr.take().unwrap()),
            child,
        }
    }

    /// The next line of stdout, with its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Reads stderr up to a line that contains `text`, and gives all of it.
    pub(crate) fn talk_until(&mut self, text: &str) -> String {
        let mut talk = String::new();
        loop {
            let start = talk.len();
            assert!(self.stderr.read_line(&mut talk).unwrap() > 0, "no {text:?} in {talk}");
            if talk[start..].contains(text) {
                return talk;
            }
        }
    }

    /// Sends a signal, such as `-TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits for the end, and gives the exit code and the rest of stdout and stderr.
    pub(crate) fn end(mut self) -> Ended {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), String::new());
        self.stdout.read_to_end(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        let code = self.child.wait().unwrap().code().expect("the program ends by itself");
        Ended { code, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server of the program, on a free port.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) program: Running,
    /// Host and port.
    pub(crate) address: String,
    secure: bool,
}

impl Server {
    pub(crate) fn start(command: &str, arguments: &[&str]) -> Self {
        Self::of(Running::spawn(
            sockeye().args([command, "--listen", "127.0.0.1:0"]).args(arguments),
        ))
    }

    pub(crate) fn of(mut program: Running) -> Self {
        let line = program.line();
        let url = line.strip_prefix("listening on ").expect(&line).trim_end();
        let (scheme, rest) = url.split_once("://").unwrap();
        Self {
            program,
            address: rest.strip_suffix('/').unwrap().to_owned(),
            secure: matches!(scheme, "wss"),
        }
    }

    /// Its WebSocket URL with this path.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{path}", self.address)
    }

    pub(crate) async fn connect(&self, path: &str) -> WebSocket<Stream> {
        let client = Client::builder().build().unwrap();
        client.connect(&self.url(path)).await.unwrap()
    }

    /// Sends a request as it stands and gives all that comes back until the server ends the connection.
    pub(crate) fn request(&self, request: &str) -> String {
        let mut tcp = self.tcp();
        tcp.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        tcp.read_to_string(&mut response).unwrap();
        response
    }

    /// A connection whose reads fail after a while rather than stand still.
    pub(crate) fn tcp(&self) -> TcpStream {
        let tcp = TcpStream::connect(&self.address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        tcp
    }
}

/// The request that RFC 6455 §1.3 shows, for `path` and with more headers, each with its line end.
pub(crate) fn upgrade(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// Reads a head, up to its empty line.
pub(crate) fn head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Receives up to the peer's Close, and gives its code and reason.
pub(crate) async fn closed(ws: &mut WebSocket<Stream>) -> (CloseCode, String) {
    loop {
        match ws.next_event().await.unwrap() {
            Some(Event::Close(Some(frame))) => return (frame.code, frame.reason.to_string()),
            Some(Event::Close(None)) => return (CloseCode::NO_STATUS, String::new()),
            Some(_) => {}
            None => panic!("ended before a Close was seen"),
        }
    }
}
