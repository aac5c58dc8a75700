//! Counters, as a recorder gets them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use sockeye::{CloseCode, Server};

use crate::common::{bound, connect, http, upgrade};

/// Values by name and labels.
#[derive(Clone, Default)]
struct Values(Arc<Mutex<HashMap<String, i64>>>);

impl Values {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self, name: &str) -> i64 {
        self.lock().get(name).copied().unwrap_or(0)
    }

    fn one(&self, key: &Key) -> Arc<One> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        Arc::new(One(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }
}

struct One(Values, String);

impl One {
    fn add(&self, difference: i64) {
        *self.0.lock().entry(self.1.clone()).or_default() += difference;
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.add(value as i64);
    }

    fn absolute(&self, _value: u64) {}
}

impl GaugeFn for One {
    fn increment(&self, value: f64) {
        self.add(value as i64);
    }

    fn decrement(&self, value: f64) {
        self.add(-(value as i64));
    }

    fn set(&self, _value: f64) {}
}

impl Recorder for Values {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn connections_handshakes_and_handlers_are_counted() {
    let values = Values::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    with_local_recorder(&values, || runtime.block_on(scenario(&values)));
    for (name, value) in [
        ("sockeye_connections{role=server}", 0),
        ("sockeye_connections{role=client}", 0),
        ("sockeye_connections_opened_total{role=server}", 2),
        ("sockeye_connections_opened_total{role=client}", 2),
        ("sockeye_connections_closed_total{role=server,code=4xxx,clean=true}", 1),
        ("sockeye_connections_closed_total{role=client,code=4xxx,clean=true}", 1),
        ("sockeye_handshakes_failed_total{reason=rejected}", 1),
        ("sockeye_handlers_failed_total{how=panic}", 1),
    ] {
        assert_eq!(values.value(name), value, "{name} in {:?}", values.lock());
    }
}

async fn scenario(values: &Values) {
    let (server, address) = bound(Server::builder()).await;
    let serving = server.clone();
    tokio::spawn(async move {
        serving
            .serve(|mut ws| async move {
                let message = ws.recv().await.unwrap();
                assert_eq!(message, None, "too much for the handler");
            })
            .await;
    });
    let mut closing = connect(address).await.unwrap();
    assert_eq!(values.value("sockeye_connections{role=server}"), 1);
    closing.close(CloseCode::new(4321), "").await.unwrap();
    drop(closing);
    let mut crashing = connect(address).await.unwrap();
    crashing.send("boom").await.unwrap();
    assert_eq!(crashing.recv().await.unwrap(), None);
    drop(crashing);
    let refused = http(address, &upgrade("/", "Origin: http://evil.example\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
}
