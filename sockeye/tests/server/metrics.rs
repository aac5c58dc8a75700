//! Counters, as a recorder gets them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use sockeye::{Client, CloseCode, Server};
use tokio::net::TcpListener;

#[cfg(feature = "axum")]
use crate::common::http;
use crate::common::{bound, connect};

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
        ("sockeye_handshakes_failed_total{role=server,reason=rejected}", 1),
        ("sockeye_handshakes_failed_total{role=client,reason=rejected}", 1),
        ("sockeye_handshakes_failed_total{role=client,reason=connect}", 1),
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
    let stranger = Client::builder().origin("http://evil.example").build().unwrap();
    stranger.connect(&format!("ws://{address}/")).await.unwrap_err();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    connect(nobody).await.unwrap_err();
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

/// What hyper's and axum's servers refuse, and a page that a route has beside its WebSocket is no refusal.
#[cfg(feature = "axum")]
#[test]
fn refusals_inside_others_servers_are_counted() {
    use axum::response::{IntoResponse, Response};
    use sockeye::axum::WebSocketUpgrade;
    use sockeye::handshake::Rejection;

    async fn route(ws: Option<WebSocketUpgrade>) -> Response {
        match ws {
            Some(ws) if ws.request().path() == "/private" => ws.reject(Rejection::new(401)),
            Some(ws) => ws.on_upgrade(async |mut ws| drop(ws.recv().await)),
            None => "a page".into_response(),
        }
    }

    let values = Values::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    with_local_recorder(&values, || {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let app = axum::Router::new().fallback(route);
            tokio::spawn(async move { axum::serve(listener, app).await });
            let page = http(
                address,
                "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            )
            .await;
            assert!(page.ends_with("a page"), "{page}");
            assert_eq!(
                values.value("sockeye_handshakes_failed_total{role=server,reason=rejected}"),
                0
            );
            let stranger = Client::builder().origin("http://evil.example").build().unwrap();
            stranger.connect(&format!("ws://{address}/")).await.unwrap_err();
            let client = Client::builder().build().unwrap();
            client.connect(&format!("ws://{address}/private")).await.unwrap_err();
            let mut ws = connect(address).await.unwrap();
            ws.close(CloseCode::NORMAL, "").await.unwrap();
        });
    });
    for (name, value) in [
        ("sockeye_handshakes_failed_total{role=server,reason=rejected}", 2),
        ("sockeye_handshakes_failed_total{role=client,reason=rejected}", 2),
        ("sockeye_connections_opened_total{role=server}", 1),
    ] {
        assert_eq!(values.value(name), value, "{name} in {:?}", values.lock());
    }
}
