//! WebSockets inside hyper's and axum's servers, over real sockets, with Sockeye's client and with bytes.

mod axum;
mod common;
mod http2;
mod hyper;
