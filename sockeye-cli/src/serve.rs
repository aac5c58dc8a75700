//! `sockeye serve`: a page for people and the WebSocket endpoints behind it, on one port.
//!
//! [`page`] answers ordinary requests. `/echo` is the loop of `sockeye echo`, `/chat` is [`chat`], `/ticker` is
//! [`ticker`]; the latter two speak JSON in text messages.

mod chat;
mod page;
mod ticker;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sockeye::handshake::Rejection;
use sockeye::transport::Stream;
use sockeye::{AcceptError, CloseCode, DeflateOptions, Error, Prepared, ServerOptions, Upgrade, WebSocket};
use tokio::time::timeout;

use self::chat::Rooms;
use self::ticker::Ticker;
use crate::echo;
use crate::listen;
use crate::plan::Serving;
use crate::report::Failure;

pub(crate) async fn run(plan: Serving) -> Result<(), Failure> {
    let server = plan.listening.bind().await?;
    let encoder = Encoder {
        deflate: plan.compress.then(DeflateOptions::server),
    };
    let service = Arc::new(Service {
        options: plan.listening.options,
        rooms: Arc::new(Rooms::new(encoder)),
        ticker: Arc::new(Ticker::new(encoder)),
    });
    tokio::spawn(service.ticker.clone().run());
    listen::run(server, "http", |server| async move {
        server
            .serve_requests(move |upgrade| connection(upgrade, service.clone()))
            .await;
    })
    .await
}

/// What the connections share.
struct Service {
    options: ServerOptions,
    rooms: Arc<Rooms>,
    ticker: Arc<Ticker>,
}

async fn connection(upgrade: Upgrade<Stream>, service: Arc<Service>) {
    // What a client did wrong it has been told; a server of many has nothing to add.
    let Ok(Some((endpoint, ws))) = answer(upgrade, &service).await else {
        return;
    };
    match endpoint {
        // Whatever it was, the client has been told if it could be.
        Endpoint::Echo => drop(echo::converse(ws).await),
        Endpoint::Chat => chat::converse(ws, service.rooms.clone()).await,
        Endpoint::Ticker => ticker::converse(ws, &service.ticker).await,
    }
}

/// A path that speaks WebSocket.
#[derive(Debug, Clone, Copy)]
enum Endpoint {
    Echo,
    Chat,
    Ticker,
}

impl Endpoint {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/echo" => Some(Self::Echo),
            "/chat" => Some(Self::Chat),
            "/ticker" => Some(Self::Ticker),
            _ => None,
        }
    }
}

/// Answers a request: with a WebSocket, whose endpoint is told, or with a page or a refusal, and it is over.
async fn answer(
    upgrade: Upgrade<Stream>,
    service: &Service,
) -> Result<Option<(Endpoint, WebSocket<Stream>)>, AcceptError> {
    if let Some(endpoint) = Endpoint::at(upgrade.request().path()) {
        // Requests that are no upgrade, or from a page of another origin, are refused here.
        let ws = upgrade.accept(&service.options).await?;
        return Ok(Some((endpoint, ws)));
    }
    if upgrade.request().method() == "GET" && upgrade.is_websocket() {
        upgrade.reject(Rejection::new(404).with_body(NO_ENDPOINT)).await?;
    } else {
        page::respond(upgrade).await?;
    }
    Ok(None)
}

/// Turns events into messages that are encoded once for all who get them.
#[derive(Debug, Clone, Copy)]
struct Encoder {
    deflate: Option<DeflateOptions>,
}

impl Encoder {
    fn encode(&self, event: &impl Serialize) -> Prepared {
        let message = Prepared::new(json(event).as_str());
        match &self.deflate {
            Some(options) => message.with_compression(options),
            None => message,
        }
    }
}

/// An event as JSON. Those of this program are plain structs and enums, which always have a form in JSON.
fn json(event: &impl Serialize) -> String {
    serde_json::to_string(event).unwrap_or_default()
}

/// Milliseconds since 1970, as JavaScript counts them.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Waits for a send to a client that may have stopped to read: it has [`PATIENCE`] to go on.
async fn patiently(send: impl Future<Output = Result<(), Error>>) -> Result<(), End> {
    match timeout(PATIENCE, send).await {
        Ok(sent) => sent.map_err(End::from),
        Err(_) => Err(End::Close(CloseCode::POLICY_VIOLATION, NOT_READ)),
    }
}

/// Why a conversation ends.
#[derive(Debug)]
enum End {
    /// The connection is over.
    Over,
    /// We close, with this code and reason.
    Close(CloseCode, &'static str),
}

impl From<Error> for End {
    /// Whatever it was, the peer has been told if it could be.
    fn from(_: Error) -> Self {
        Self::Over
    }
}

/// Holds a conversation to its end, and closes the connection if it is open then. The end of the server ends it too: it
/// is told by what the conversation receives or sends next.
async fn hold(mut ws: WebSocket<Stream>, conversation: impl AsyncFnOnce(&mut WebSocket<Stream>) -> End) {
    if let End::Close(code, reason) = conversation(&mut ws).await {
        let _ = ws.close(code, reason).await;
    }
}

/// How long a client may leave a message unread before it is dropped.
const PATIENCE: Duration = Duration::from_secs(20);

const NOT_READ: &str = "messages were not read in time";

const NO_ENDPOINT: &str = "there is no WebSocket here; try /echo, /chat or /ticker\n";
