//! An engine whose handler does what its clients say, and tells the test what it is told.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use sockeye::WebSocket;
use sockeye::transport::Stream;
use sockeye_engine::{
    Cause, CloseCode, Decision, Deferred, End, Engine, EngineBuilder, Handle, Handler, ManualClock, Message, Payload,
    Rejection, ServerOptions, ShutdownReport, Socket, Upgrade,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) use crate::support::{BINARY, CLOSE, PING, PONG, REQUEST, Raw, TEXT, header, masked, read_head};

/// What the handler was told, by the connection's number.
#[derive(Debug)]
pub(crate) enum Told {
    /// Opened, with the path of the request.
    Open(u64, Handle),
    /// A request to `/later` has come.
    Later(Box<Deferred<u64>>),
    Close(Ended),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    pub(crate) number: u64,
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) clean: bool,
    pub(crate) sent: Option<u16>,
    pub(crate) cause: Option<Cause>,
}

/// Echoes, except for `subscribe FILTER`, `publish TOPIC TEXT`, `shard`, `peer`, `large LENGTH`, `panic`, and `terminate`.
struct Obedient {
    shard: usize,
    tell: UnboundedSender<Told>,
}

impl Obedient {
    fn tell(&self, told: Told) {
        // A test that has seen enough hears no more.
        let _ = self.tell.send(told);
    }
}

impl Handler for Obedient {
    type Data = u64;

    fn upgrade(&mut self, request: &mut Upgrade<'_, u64>) -> Decision<u64> {
        match request.request().path() {
            "/later" => {
                let deferred = request.defer();
                self.tell(Told::Later(Box::new(deferred)));
                Decision::Later
            }
            "/refused" => Decision::Reject(Rejection::new(401)),
            path => Decision::Accept(path.trim_matches('/').parse().unwrap_or(0)),
        }
    }

    fn open(&mut self, socket: &mut Socket<'_, u64>) {
        self.tell(Told::Open(*socket.data, socket.handle()));
    }

    fn message(&mut self, socket: &mut Socket<'_, u64>, message: Payload<'_>) {
        let Payload::Text(text) = message else {
            let _ = socket.send(message);
            return;
        };
        let mut words = text.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("subscribe"), Some(filter), None) => {
                let _ = socket.subscribe(filter);
                let _ = socket.send("subscribed");
            }
            (Some("publish"), Some(topic), Some(text)) => {
                let _ = socket.publish(topic, text);
            }
            (Some("shard"), None, None) => {
                let _ = socket.send(&*self.shard.to_string());
            }
            (Some("peer"), None, None) => {
                let certificates = socket.peer_certificates();
                let first = certificates.and_then(|mut list| (!list.is_empty()).then(|| list.swap_remove(0)));
                let _ = socket.send(&*first.unwrap_or_default());
            }
            (Some("large"), Some(length), None) => {
                let _ = socket.send(&*vec![0x2e; length.parse().unwrap_or(0)]);
            }
            (Some("panic"), None, None) => panic!("asked to"),
            (Some("terminate"), None, None) => socket.terminate(),
            _ => {
                let _ = socket.send(text);
            }
        }
    }

    fn close(&mut self, data: u64, end: End<'_>) {
        self.tell(Told::Close(Ended {
            number: data,
            code: end.code.as_u16(),
            reason: end.reason.to_owned(),
            clean: end.clean,
            sent: end.sent.map(CloseCode::as_u16),
            cause: end.cause,
        }));
    }
}

/// An engine that runs.
pub(crate) struct Running {
    pub(crate) engine: Engine,
    pub(crate) told: UnboundedReceiver<Told>,
}

/// An engine with so many shards at a free port.
pub(crate) fn start(threads: usize) -> Running {
    start_with(threads, ServerOptions::default(), |builder| builder)
}

pub(crate) fn start_with(
    threads: usize,
    options: ServerOptions,
    change: impl FnOnce(EngineBuilder) -> EngineBuilder,
) -> Running {
    let builder = Engine::builder(options).listen("127.0.0.1:0").unwrap();
    run(change(builder.threads(threads)))
}

/// An engine with one shard, whose time passes when the test says so.
pub(crate) fn start_by_hand(options: ServerOptions) -> (Running, ManualClock) {
    let clock = ManualClock::new();
    let running = start_with(1, options, |builder| builder.clock(&clock));
    (running, clock)
}

/// Lets time pass until this is done.
pub(crate) async fn pass_time<F: Future>(clock: &ManualClock, until: F) -> F::Output {
    let mut until = pin!(until);
    loop {
        tokio::select! {
            biased;
            output = &mut until => return output,
            () = tokio::task::yield_now() => clock.advance(Duration::from_millis(50)),
        }
    }
}

pub(crate) fn run(builder: EngineBuilder) -> Running {
    let (tell, told) = unbounded_channel();
    let engine = builder.start(move |shard| Obedient {
        shard,
        tell: tell.clone(),
    });
    Running {
        engine: engine.unwrap(),
        told,
    }
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.engine.local_addrs()[0]
    }

    pub(crate) async fn connect(&self, path: &str) -> WebSocket<Stream> {
        sockeye::connect(&format!("ws://{}{path}", self.address()))
            .await
            .unwrap()
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        let tcp = TcpStream::connect(self.address()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp
    }

    /// A raw client that has done the opening handshake.
    pub(crate) async fn raw(&self) -> Raw<TcpStream> {
        Raw::client(self.tcp().await, &[]).await
    }

    /// The next connection that opens.
    pub(crate) async fn opened(&mut self) -> (u64, Handle) {
        loop {
            if let Told::Open(number, handle) = self.told.recv().await.unwrap() {
                return (number, handle);
            }
        }
    }

    /// The next connection that ends.
    pub(crate) async fn ended(&mut self) -> Ended {
        loop {
            if let Told::Close(ended) = self.told.recv().await.unwrap() {
                return ended;
            }
        }
    }

    /// The next request to `/later`.
    pub(crate) async fn asked(&mut self) -> Deferred<u64> {
        loop {
            if let Told::Later(deferred) = self.told.recv().await.unwrap() {
                return *deferred;
            }
        }
    }

    pub(crate) async fn shutdown(self, within: Duration) -> ShutdownReport {
        tokio::task::spawn_blocking(move || self.engine.shutdown(within))
            .await
            .unwrap()
    }

    /// A figure of the metrics.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        figure(&self.engine.metrics(), name)
    }

    /// Waits until a figure has this value, which it has when the shard's turn has ended.
    pub(crate) async fn until(&self, name: &str, value: u64) {
        while self.metric(name) != value {
            tokio::task::yield_now().await;
        }
    }
}

/// A figure out of a page of metrics.
pub(crate) fn figure(page: &str, name: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in {page}"))
        .parse()
        .unwrap()
}

/// Sends a message and awaits the answer to it.
pub(crate) async fn ask(ws: &mut WebSocket<Stream>, message: impl Into<Message>) -> Message {
    ws.send(message).await.unwrap();
    ws.recv().await.unwrap().unwrap()
}
