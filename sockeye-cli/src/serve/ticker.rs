//! `/ticker`: the price of a share that does not exist, five times a second.
//!
//! One task makes the prices and publishes them, and a client that reads slowly misses some.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use sockeye_engine::{Publisher, Socket};
use tokio::time::{MissedTickBehavior, interval};

use super::{json, now};

#[derive(Debug)]
pub(super) struct Ticker {
    history: Mutex<VecDeque<Tick>>,
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
    pub(super) fn new() -> Self {
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
        }
    }

    /// Makes ticks for as long as the program runs.
    pub(super) async fn run(self: Arc<Self>, publisher: Publisher) {
        let mut clock = interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            clock.tick().await;
            self.tick(now(), |event| {
                // The name is one, and who misses a price gets the next.
                let _ = publisher.publish(TOPIC, event);
            });
        }
    }

    fn tick(&self, at: u64, publish: impl FnOnce(&str)) {
        let mut history = self.history();
        let price = step(history.back().map_or(MEAN, |tick| tick.price));
        let tick = Tick { price, at };
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(tick);
        let event = Event::Tick { symbol: SYMBOL, tick };
        // Under the lock: whoever comes has it in the history, or gets it, or both.
        publish(&json(&event));
    }

    /// Sends the history and has the ticks follow it. None is missing in between; one that was on its way to the shard comes
    /// after a history that has it, and is known by its time.
    pub(super) fn welcome<D>(&self, socket: &mut Socket<'_, D>) {
        let history = self.history();
        let event = Event::History {
            symbol: SYMBOL,
            ticks: &history,
        };
        let _ = socket.send(json(&event).as_str());
        // A connection has this one subscription, which no limit forbids.
        let _ = socket.subscribe(TOPIC);
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

const TOPIC: &str = "ticker";

const SYMBOL: &str = "SOCK";

/// Where the price is drawn to.
const MEAN: f64 = 100.0;

/// Five ticks a second.
const PERIOD: Duration = Duration::from_millis(200);

/// Ticks that a client gets when it comes: 24 s.
const HISTORY: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

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
        let ticker = Ticker::new();
        let mut published = 0;
        for at in 0..10_000 {
            ticker.tick(at, |_| published += 1);
        }
        assert_eq!(published, 10_000);
        let history = ticker.history();
        assert_eq!(history.len(), HISTORY);
        assert!(history.iter().all(|tick| tick.price > 0.0 && tick.price < 2.0 * MEAN));
    }
}
