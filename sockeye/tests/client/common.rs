//! Servers that answer by script, and programs that run meanwhile.

use std::env;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use sockeye::{Client, CloseCode, Server, ServerOptions, WebSocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

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

/// A program that runs while the test does.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    pub(crate) port: u16,
}

impl Program {
    /// Starts `program` with what `arguments` makes of a free port, and waits until it listens there. `None`, with a loud
    /// line, if it is not installed; in CI that is a failure.
    pub(crate) async fn start(program: &str, arguments: impl Fn(u16) -> Vec<String>) -> Option<Self> {
        let Some(path) = find(program) else {
            let missing = format!("{program} is not available; to get it: apt-get install {program}");
            assert!(
                env::var_os("CI").is_none_or(|ci| ci != "true" && ci != "1"),
                "{missing}"
            );
            // Past the test harness, which shows what a test prints only when it fails.
            let line = format!("SKIPPED: {missing}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        };
        // Somebody may take the port between our asking for it and the program's.
        for _ in 0..5 {
            let port = free_port();
            let child = Command::new(&path)
                .args(arguments(port))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut running = Self { child, port };
            if running.listens().await {
                return Some(running);
            }
        }
        panic!("{program} does not start");
    }

    /// There is no event for a port that is opened by another program. It takes it a few milliseconds, and a refusal comes
    /// at once; the other tests, and the program itself, run in between.
    async fn listens(&mut self) -> bool {
        loop {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return self.child.try_wait().unwrap().is_none();
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// A port on which nobody listened just now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
