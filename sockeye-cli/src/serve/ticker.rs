//! `/ticker`: the price of a share that does not exist, five times a second.
//!
//! One task makes the prices, each tick is encoded once, and a client that reads slowly misses some: what waits for it
//! is at most [`BACKLOG`] ticks that it shares with all others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use sockeye::transport::Stream;
use sockeye::{Prepared, WebSocket};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

use super::{Encoder, End, hold, now, patiently};

#[derive(Debug)]
pub(super) struct Ticker {
    history: Mutex<VecDeque<Tick>>,
    ticks: broadcast::Sender<Prepared>,
    encoder: Encoder,
}

/// A price at a time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Tick {
    price: f64,
    at: u64,
}

/// What a client gets: the history first, and then each tick.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Event<'a> {
    History {
        symbol: &'static str,
        ticks: &'a VecDeque<Tick>,
    },
    Tick {
        symbol: &'static str,
        #[serde(flatten)]
        tick: Tick,
    },
}

impl Ticker {
    /// A ticker that looks as if it had run for a while, so that the first client has something to see.
    pub(super) fn new(encoder: Encoder) -> Self {
        let mut history = VecDeque::with_capacity(HISTORY);
        let period = u64::try_from(PERIOD.as_millis()).unwrap_or(u64::MAX);
        let start = now().saturating_sub(period * HISTORY as u64);
        let mut price = MEAN;
        for n in 0..HISTORY as u64 {
            price = step(price);
            let at = start + period * n;
            history.push_back(Tick { price, at });
        }
        Self {
            history: Mutex::new(history),
            ticks: broadcast::Sender::new(BACKLOG),
            encoder,
        }
    }

    /// Makes ticks for as long as the program runs.
    pub(super) async fn run(self: Arc<Self>) {
        let mut clock = interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            clock.tick().await;
            self.tick(now());
        }
    }

    fn tick(&self, at: u64) {
        let mut history = self.history();
        let price = step(history.back().map_or(MEAN, |tick| tick.price));
        let tick = Tick { price, at };
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(tick);
        let event = Event::Tick { symbol: SYMBOL, tick };
        // An error means that nobody listens.
        let _ = self.ticks.send(self.encoder.encode(&event));
    }

    /// The history and the ticks that follow it: none is missing in between, and none comes twice.
    fn subscribe(&self) -> (Prepared, broadcast::Receiver<Prepared>) {
        let history = self.history();
        let event = Event::History {
            symbol: SYMBOL,
            ticks: &history,
        };
        (self.encoder.encode(&event), self.ticks.subscribe())
    }

    fn history(&self) -> MutexGuard<'_, VecDeque<Tick>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A random walk that is drawn back to its mean, in whole cents, never below one.
fn step(price: f64) -> f64 {
    let drift = (MEAN - price) * 0.01;
    let price = price + drift + rand::random_range(-0.4..=0.4);
    ((price * 100.0).round() / 100.0).max(0.01)
}

/// Sends ticks until the client closes or the server shuts down. What the client sends means nothing.
pub(super) async fn converse(ws: WebSocket<Stream>, ticker: &Ticker) {
    hold(ws, async |ws| match tell(ws, ticker).await {
        Ok(()) => End::Over,
        Err(end) => end,
    })
    .await;
}

async fn tell(ws: &mut WebSocket<Stream>, ticker: &Ticker) -> Result<(), End> {
    let (history, mut ticks) = ticker.subscribe();
    patiently(ws.send_prepared(&history)).await?;
    loop {
        tokio::select! {
            message = ws.recv() => {
                if message?.is_none() {
                    return Ok(());
                }
            }
            tick = ticks.recv() => match tick {
                Ok(tick) => patiently(ws.send_prepared(&tick)).await?,
                // Too slow for some of them: go on with the oldest that is still there.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            },
        }
    }
}

const SYMBOL: &str = "SOCK";

/// Where the price is drawn to.
const MEAN: f64 = 100.0;

/// Five ticks a second.
const PERIOD: Duration = Duration::from_millis(200);

/// Ticks that a client gets when it comes: 24 s.
const HISTORY: usize = 120;

/// Ticks that wait for a slow client.
const BACKLOG: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::json;

    #[test]
    fn events_have_the_form_that_the_page_reads() {
        let tick = Tick { price: 101.25, at: 7 };
        let event = Event::Tick { symbol: "SOCK", tick };
        let form = r#"{"type":"tick","symbol":"SOCK","price":101.25,"at":7}"#;
        assert_eq!(json(&event), form);
        let ticks = &VecDeque::from([tick]);
        let event = Event::History { symbol: "SOCK", ticks };
        let form = r#"{"type":"history","symbol":"SOCK","ticks":[{"price":101.25,"at":7}]}"#;
        assert_eq!(json(&event), form);
    }

    #[test]
    fn the_history_keeps_its_length_and_the_price_its_bounds() {
        let ticker = Ticker::new(Encoder { deflate: None });
        for at in 0..10_000 {
            ticker.tick(at);
        }
        let history = ticker.history();
        assert_eq!(history.len(), HISTORY);
        assert!(history.iter().all(|tick| tick.price > 0.0 && tick.price < 2.0 * MEAN));
    }

    #[test]
    fn a_subscriber_that_reads_nothing_holds_no_more_than_the_backlog() {
        let ticker = Ticker::new(Encoder { deflate: None });
        let (_, mut ticks) = ticker.subscribe();
        for at in 0..1000 {
            ticker.tick(at);
        }
        assert!(matches!(
            ticks.try_recv(),
            Err(broadcast::error::TryRecvError::Lagged(_))
        ));
        let waiting = std::iter::from_fn(|| ticks.try_recv().ok()).count();
        assert_eq!(waiting, BACKLOG);
    }
}
