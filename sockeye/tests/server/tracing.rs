//! Spans and events, as a subscriber gets them.

use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sockeye::{CloseCode, Server};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::common::{bound, connect};

/// Lines, one a span or event.
#[derive(Clone, Default)]
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    spans: Arc<AtomicU64>,
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Lines {
    fn push(&self, line: String) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn has(&self, parts: &[&str]) -> bool {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().any(|line| parts.iter().all(|part| line.contains(part)))
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sockeye")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let id = self.spans.fetch_add(1, Ordering::Relaxed) + 1;
        let mut line = format!("span {id} {}", attributes.metadata().name());
        attributes.record(&mut Fields(&mut line));
        self.push(line);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut line = format!("span {}", span.into_u64());
        values.record(&mut Fields(&mut line));
        self.push(line);
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = format!("event in {:?}", event.parent().map(Id::into_u64));
        event.record(&mut Fields(&mut line));
        self.push(line);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_connection_has_a_span_with_its_peer_and_its_end() {
    let lines = Lines::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let peer = tracing::subscriber::with_default(lines.clone(), || runtime.block_on(scenario()));
    let all = format!("{:#?}", lines.lines.lock().unwrap());
    for parts in [
        ["connection", "role=\"server\""].as_slice(),
        &["connection", "role=\"client\""],
        &["span ", &format!("peer={peer}")],
        &["message=open"],
        &["message=Close received", "code=4001", "reason=enough"],
        &["message=ended", "code=4001", "clean=true"],
        &["message=handler failed", "error=not my day"],
    ] {
        assert!(lines.has(parts), "{parts:?} in {all}");
    }
}

async fn scenario() -> String {
    let (server, address) = bound(Server::builder()).await;
    let serving = server.clone();
    tokio::spawn(async move {
        serving
            .serve(|mut ws| async move {
                while ws.recv().await.is_ok_and(|message| message.is_some()) {}
                Err::<(), _>("not my day")
            })
            .await;
    });
    let mut ws = connect(address).await.unwrap();
    let peer = ws.with_transport(|stream| stream.local_addr().unwrap().to_string());
    ws.close(CloseCode::new(4001), "enough").await.unwrap();
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
    peer
}
