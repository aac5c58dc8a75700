//! Runs the built program and talks to it. Every wait is for a line, a message or an end.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod programs;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use sockeye::handshake::accept_key;
use sockeye::transport::Stream;
use sockeye::{Client, CloseCode, Event, WebSocket};

/// The program, in an environment without proxies.
pub(crate) fn sockeye() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
}

/// Runs to the end, with this on stdin.
pub(crate) fn run(arguments: &[&str], input: &[u8]) -> Ended {
    run_in(&[], arguments, input)
}

/// The same with these variables in the environment.
pub(crate) fn run_in(variables: &[(&str, &str)], arguments: &[&str], input: &[u8]) -> Ended {
    let mut child = sockeye()
        .args(arguments)
        .envs(variables.iter().copied())
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

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of stdout, with its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Writes a line to stdin.
    pub(crate) fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
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

    /// Reads stderr until no process has it open any more.
    pub(crate) fn talk_to_the_end(&mut self) -> String {
        let mut talk = String::new();
        self.stderr.read_to_string(&mut talk).unwrap();
        talk
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
    /// A command, such as `echo --engine`, with more arguments.
    pub(crate) fn start(command: &str, arguments: &[&str]) -> Self {
        let command = command.split(' ').chain(["--listen", "127.0.0.1:0"]);
        Self::of(Running::spawn(sockeye().args(command).args(arguments)))
    }

    pub(crate) fn of(mut program: Running) -> Self {
        let line = program.line();
        let url = line.strip_prefix("listening on ").expect(&line).trim_end();
        let (scheme, rest) = url.split_once("://").unwrap();
        Self {
            program,
            address: rest.strip_suffix('/').unwrap().to_owned(),
            secure: matches!(scheme, "wss" | "https"),
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

/// A listener on a port of its own, and its host and port.
pub(crate) fn listen() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap().to_string(), listener)
}

/// Accepts one connection and does the server's handshake by hand.
pub(crate) fn handshake(listener: &TcpListener) -> TcpStream {
    let (mut tcp, _) = listener.accept().unwrap();
    let request = head(&mut tcp);
    let key = request
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap();
    let accept = accept_key(key.as_bytes());
    let accept = std::str::from_utf8(&accept).unwrap();
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    tcp.write_all(response.as_bytes()).unwrap();
    tcp
}

/// A server that gives each of these answers to a connection of its own, and then the heads of the requests.
pub(crate) fn answers(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let (address, listener) = listen();
    let serving = std::thread::spawn(move || {
        let answer = |answer: String| {
            let (mut tcp, _) = listener.accept().unwrap();
            let head = head(&mut tcp);
            tcp.write_all(answer.as_bytes()).unwrap();
            head
        };
        answers.into_iter().map(answer).collect()
    });
    (address, serving)
}

/// A file for a test, by a name that no other test uses.
pub(crate) fn file(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path
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
