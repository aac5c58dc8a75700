//! Servers that answer by script, and what the tests of clients do with them.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use sockeye::{Client, CloseCode, Server, ServerOptions, WebSocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

#[path = "../support/programs.rs"]
pub(crate) mod programs;

pub(crate) use self::programs::Program;

/// What a [`Site`] does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Becomes a WebSocket.
    Upgrade,
    /// These bytes, and the end.
    Bytes(Vec<u8>),
}

/// A response without a body that leads elsewhere.
pub(crate) fn redirect(status: u16, location: &str) -> Answer {
    Answer::Bytes(format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes())
}

/// A server on a port of its own that answers by the request's first line, and remembers what it was asked.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Site {
    pub(crate) async fn new(answer: impl Fn(&str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&heads);
        tokio::spawn(async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let head = read_head(&mut tcp).await;
                let answer = answer(head.lines().next().unwrap_or_default());
                let key = header(&head, "Sec-WebSocket-Key").unwrap_or_default();
                log.lock().unwrap().push(head);
                match answer {
                    Answer::Upgrade => {
                        tcp.write_all(&upgraded(&key)).await.unwrap();
                        // Open until the client ends it.
                        tokio::spawn(async move { tcp.read_to_end(&mut Vec::new()).await });
                    }
                    Answer::Bytes(bytes) => tcp.write_all(&bytes).await.unwrap(),
                }
            }
        });
        Self { address, heads }
    }

    /// The requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, resource: &str) -> String {
        format!("ws://{}{resource}", self.address)
    }
}

/// The response that makes a WebSocket of a request with this key.
pub(crate) fn upgraded(key: &str) -> Vec<u8> {
    let accept = sockeye::handshake::accept_key(key.as_bytes());
    [
        &b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Who: me\r\n"[..],
        b"Sec-WebSocket-Accept: ",
        &accept,
        b"\r\n\r\n",
    ]
    .concat()
}

/// The value of a header of a request.
pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut values = lines.filter(|(other, _)| other.eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.to_owned())
}

/// Reads a head to its empty line, and not a byte further. TLS is none, and whoever waits for one in it waits for ever.
pub(crate) async fn read_head<T: AsyncRead + Unpin>(io: &mut T) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(TLS_RECORD) if head.is_empty() => break,
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// The first byte of a ClientHello: a record of the handshake.
const TLS_RECORD: u8 = 0x16;

/// A server that echoes, for as long as the test runs.
pub(crate) async fn echo(adjust: impl FnOnce(Server) -> Server) -> SocketAddr {
    let server = adjust(Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap());
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let incoming = server.accept().await.unwrap();
            tokio::spawn(async move {
                let Ok(mut ws) = incoming.accept().await else {
                    return;
                };
                while let Ok(Some(message)) = ws.recv().await {
                    ws.send(message).await.unwrap();
                }
            });
        }
    });
    address
}

/// Sends a message over a connection to an echo, gets it back, and closes.
pub(crate) async fn exchange<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(mut ws: WebSocket<T>) {
    let message = "a message".repeat(10_000);
    ws.send(message.clone()).await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some(message.into()));
    ws.close(CloseCode::NORMAL, "").await.unwrap();
}

/// A client with the defaults.
pub(crate) fn client() -> Client {
    Client::builder().build().unwrap()
}

/// A directory for files of this test alone.
pub(crate) fn directory(test: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("client-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Runs a test of this program in a process of its own with `variables` in its environment, and fails with it. A process must
/// not change its own environment while it has threads.
pub(crate) async fn in_environment(test: &'static str, variables: Vec<(&'static str, String)>) {
    let mut command = Command::new(env::current_exe().unwrap());
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.args([test, "--exact", "--nocapture"]).envs(variables);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let (output, talk) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success() && output.contains("1 passed"), "{output}{talk}");
}
