//! `sockeye serve`: a page for people and the WebSocket endpoints behind it, on one port.
//!
//! The engine serves: [`endpoints`] is its handler. `/echo` is that of `sockeye echo`, `/chat` is [`chat`], `/ticker` is
//! [`ticker`], and whoever connects to `/topic/NAME` publishes to all others there. Requests for anything else are handed
//! over to a runtime on the main thread, where [`page`] answers them.

mod chat;
mod endpoints;
mod page;
mod ticker;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sockeye_engine::SlowSubscriber;
use tokio::sync::mpsc;

use self::chat::Rooms;
use self::endpoints::Endpoints;
use self::page::Pages;
use self::ticker::Ticker;
use crate::listen;
use crate::plan::Listening;
use crate::report::Failure;

pub(crate) async fn run(plan: Listening) -> Result<(), Failure> {
    let (hand_over, requests) = mpsc::channel(REQUESTS);
    let endpoints = Endpoints {
        addresses: plan.addresses(),
        rooms: Arc::new(Rooms::default()),
        ticker: Arc::new(Ticker::new()),
    };
    let ticker = endpoints.ticker.clone();
    let engine = plan
        .engine()?
        .slow_subscriber(SlowSubscriber::Tell)
        // A shard does not wait: beyond the limit, who asked finds the connection ended.
        .hand_over(move |connection| drop(hand_over.try_send(connection)))
        .start(move |_shard| endpoints.clone())
        .map_err(|error| Failure::usage(format!("the engine does not start: {error}")))?;
    let pages = Pages {
        options: plan.options.clone(),
        metrics: engine.metrics_reader(),
    };
    // Both end with the program.
    tokio::spawn(pages.serve(requests));
    tokio::spawn(ticker.run(engine.publisher()));
    listen::run_engine(engine, "http", &plan).await
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

/// Ordinary requests that wait for those before them.
const REQUESTS: usize = 1024;

const NOT_READ: &str = "messages were not read in time";
