//! The page, its files, `/healthz` and `/metrics`: what a browser or a monitor gets by ordinary requests.

use std::borrow::Cow;
use std::sync::Arc;

use sockeye::handshake::{HeaderError, Headers};
use sockeye::{AcceptError, ServerOptions, Upgrade};
use sockeye_engine::{HandedOver, MetricsReader};
use tokio::sync::{Semaphore, mpsc};

use super::endpoints::is_endpoint;

/// Answers requests that ask for no WebSocket.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    pub(super) options: ServerOptions,
    pub(super) metrics: MetricsReader,
}

impl Pages {
    /// Answers all that comes, some at a time.
    pub(super) async fn serve(self, mut requests: mpsc::Receiver<HandedOver>) {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(connection) = requests.recv().await {
            // It is never closed.
            let Ok(permit) = at_once.clone().acquire_owned().await else {
                return;
            };
            let pages = self.clone();
            tokio::spawn(async move {
                // What a client did wrong it has been told; a server of many has nothing to add.
                let _ = pages.answer(connection).await;
                drop(permit);
            });
        }
    }

    async fn answer(&self, connection: HandedOver) -> Result<(), AcceptError> {
        let upgrade = Upgrade::read(connection.into_stream().map_err(AcceptError::Io)?, &self.options).await?;
        let request = upgrade.request();
        if is_endpoint(request.path())
            && let Err(rejection) = self.options.negotiate(request)
        {
            return upgrade.reject(rejection).await;
        }
        let answer = answer(request.method(), request.path(), || self.metrics.render());
        // The headers are constants, whose form a test has checked.
        let headers = answer.headers().unwrap_or_default();
        upgrade.respond(answer.status, &headers, &answer.body).await
    }
}

#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    content_type: &'static str,
    body: Cow<'static, [u8]>,
}

fn answer(method: &str, path: &str, metrics: impl FnOnce() -> String) -> Answer {
    let file = FILES.iter().find(|(name, ..)| *name == path);
    let known = file.is_some() || path == METRICS;
    let (status, content_type, body) = match file {
        _ if !known => (
            404,
            TEXT,
            Cow::from(b"there is nothing here; the page is at /\n".as_slice()),
        ),
        _ if !matches!(method, "GET" | "HEAD") => (405, TEXT, b"the method must be GET or HEAD\n".as_slice().into()),
        Some((_, content_type, body)) => (200, *content_type, Cow::from(*body)),
        None => (200, PROMETHEUS, metrics().into_bytes().into()),
    };
    Answer {
        status,
        content_type,
        body,
    }
}

impl Answer {
    fn headers(&self) -> Result<Headers, HeaderError> {
        let mut headers = Headers::new();
        headers.append("Content-Type", self.content_type)?;
        headers.append("Content-Security-Policy", CONTENT_SECURITY_POLICY)?;
        headers.append("X-Content-Type-Options", "nosniff")?;
        headers.append("Cache-Control", "no-cache")?;
        headers.append("Connection", "close")?;
        if self.status == 405 {
            headers.append("Allow", "GET, HEAD")?;
        }
        Ok(headers)
    }
}

/// Path, content type and content of everything there is.
const FILES: &[(&str, &str, &[u8])] = &[
    ("/", "text/html; charset=utf-8", include_bytes!("../page/index.html")),
    (
        "/style.css",
        "text/css; charset=utf-8",
        include_bytes!("../page/style.css"),
    ),
    ("/app.js", JAVASCRIPT, include_bytes!("../page/app.js")),
    ("/common.js", JAVASCRIPT, include_bytes!("../page/common.js")),
    ("/ticker.js", JAVASCRIPT, include_bytes!("../page/ticker.js")),
    ("/icon.svg", "image/svg+xml", include_bytes!("../page/icon.svg")),
    ("/healthz", TEXT, b"ok"),
];

/// The path of the engine's counts.
const METRICS: &str = "/metrics";

/// Requests that are answered at the same time. Each has the time of a handshake.
const AT_ONCE: usize = 256;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Prometheus's text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page loads nothing from elsewhere and runs no script that stands in it. `'self'` does not cover WebSocket
/// in every browser.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:";

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(method: &str, path: &str) -> Answer {
        super::answer(method, path, || "up 1\n".into())
    }

    #[test]
    fn every_answer_has_all_its_headers() {
        let files = FILES.iter().map(|(path, content_type, _)| (*path, *content_type));
        for (path, content_type) in files.chain([(METRICS, PROMETHEUS)]) {
            let headers = answer("GET", path).headers().unwrap();
            assert_eq!(headers.text("Content-Type"), Some(content_type));
            assert_eq!(headers.text("Content-Security-Policy"), Some(CONTENT_SECURITY_POLICY));
            assert_eq!(headers.iter().count(), 5);
        }
        assert_eq!(answer("POST", "/").headers().unwrap().text("Allow"), Some("GET, HEAD"));
    }

    #[test]
    fn other_paths_are_not_found_and_other_methods_not_allowed() {
        assert_eq!(answer("GET", "/nothing").status, 404);
        assert_eq!(answer("POST", "/nothing").status, 404);
        assert_eq!(answer("DELETE", "/healthz").status, 405);
        assert_eq!(answer("POST", METRICS).status, 405);
        assert_eq!(answer("HEAD", "/").status, 200);
    }
}
