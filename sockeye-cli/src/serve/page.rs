//! The page, its files, and `/healthz`: what a browser or a monitor gets by ordinary requests.

use sockeye::handshake::{HeaderError, Headers};
use sockeye::transport::Stream;
use sockeye::{AcceptError, Upgrade};

/// Answers a request that asks for no WebSocket.
pub(super) async fn respond(upgrade: Upgrade<Stream>) -> Result<(), AcceptError> {
    let answer = answer(upgrade.request().method(), upgrade.request().path());
    // The headers are constants, whose form a test has checked.
    let headers = answer.headers().unwrap_or_default();
    upgrade.respond(answer.status, &headers, answer.body).await
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    status: u16,
    content_type: &'static str,
    body: &'static [u8],
}

fn answer(method: &str, path: &str) -> Answer {
    let found = FILES.iter().find(|(name, ..)| *name == path);
    let (status, content_type, body) = match found {
        None => (404, TEXT, b"there is nothing here; the page is at /\n".as_slice()),
        Some(_) if !matches!(method, "GET" | "HEAD") => (405, TEXT, b"the method must be GET or HEAD\n".as_slice()),
        Some((_, content_type, body)) => (200, *content_type, *body),
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

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// The page loads nothing from elsewhere and runs no script that stands in it. `'self'` does not cover WebSocket
/// in every browser.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_all_its_headers() {
        for (path, content_type, _) in FILES {
            let headers = answer("GET", path).headers().unwrap();
            assert_eq!(headers.text("Content-Type"), Some(*content_type));
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
        assert_eq!(answer("HEAD", "/").status, 200);
    }
}
