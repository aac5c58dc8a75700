//! The client's way to a connection: options, addresses, TLS, proxies, redirects, refusals. Everything over loopback, with
//! real servers and proxies.

mod common;
mod dial;
mod options;
mod proxy;
mod redirect;
mod refused;
#[cfg(feature = "tls")]
mod tls;
