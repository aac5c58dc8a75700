//! `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`: no standard describes them, so this follows what curl does.
//!
//! The lower-case names come first. `HTTP_PROXY` in upper case is ignored in a CGI program, where the header `Proxy` of a
//! request would set it (CVE-2016-5385). Names in `NO_PROXY` are compared as they stand in the URL and never resolved.

use std::env;
use std::net::IpAddr;

use sockeye_proto::uri::WebSocketUri;

use super::Proxy;
use crate::error::ProxyError;

/// The proxies that the environment names.
#[derive(Clone, Debug, Default)]
pub(in crate::client) struct Environment {
    ws: Option<Proxy>,
    wss: Option<Proxy>,
    exceptions: Vec<Exception>,
}

impl Environment {
    /// What the environment of this process says, now.
    pub(in crate::client) fn read() -> Result<Self, ProxyError> {
        // What is no text is no URL either, and an error is better than a connection past the proxy.
        Self::from_variables(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let cgi = variable("REQUEST_METHOD").is_some();
        // An empty variable is one that is not set, and hides the others no more than that.
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        let proxy = |names: &[&'static str]| -> Result<Option<Proxy>, ProxyError> {
            let named = names.iter().find_map(|name| Some((*name, value(name)?)));
            let Some((variable, url)) = named else {
                return Ok(None);
            };
            match Proxy::parse(&url) {
                Ok(proxy) => Ok(Some(proxy)),
                Err(error) => Err(ProxyError::Environment { variable, error }),
            }
        };
        let http: &[_] = if cgi {
            &["http_proxy", "all_proxy", "ALL_PROXY"]
        } else {
            &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        };
        let exceptions = value("no_proxy").or_else(|| value("NO_PROXY")).unwrap_or_default();
        Ok(Self {
            ws: proxy(http)?,
            wss: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            exceptions: exceptions
                .split([',', ' ', '\t'])
                .filter_map(Exception::parse)
                .collect(),
        })
    }

    pub(super) fn serving(&self, uri: &WebSocketUri) -> Option<&Proxy> {
        let proxy = if uri.secure() { &self.wss } else { &self.ws };
        let excepted = || self.exceptions.iter().any(|exception| exception.covers(uri));
        proxy.as_ref().filter(|_| !excepted())
    }
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    /// Any, if there is none.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    /// `*`.
    All,
    /// `example.com`, and also `.example.com` and `*.example.com`: the name and all below it.
    Domain(String),
    /// An address, or with fewer bits a network.
    Network(IpAddr, u32),
}

impl Exception {
    /// An entry that means nothing excepts nothing.
    fn parse(entry: &str) -> Option<Self> {
        if let Some((address, bits)) = entry.split_once('/') {
            let (address, bits) = (unbracketed(address).parse::<IpAddr>().ok()?, bits.parse().ok()?);
            return (bits <= width(address)).then_some(Self {
                hosts: Hosts::Network(address, bits),
                port: None,
            });
        }
        if let Ok(address) = unbracketed(entry).parse::<IpAddr>() {
            return Some(Self {
                hosts: Hosts::Network(address, width(address)),
                port: None,
            });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        let hosts = if host == "*" {
            Hosts::All
        } else if let Ok(address) = unbracketed(host).parse::<IpAddr>() {
            Hosts::Network(address, width(address))
        } else {
            let domain = host.strip_prefix('*').unwrap_or(host);
            let domain = domain.strip_prefix('.').unwrap_or(domain).trim_end_matches('.');
            if domain.is_empty() {
                return None;
            }
            Hosts::Domain(domain.to_ascii_lowercase())
        };
        Some(Self { hosts, port })
    }

    fn covers(&self, uri: &WebSocketUri) -> bool {
        if self.port.is_some_and(|port| port != uri.port()) {
            return false;
        }
        match &self.hosts {
            Hosts::All => true,
            Hosts::Domain(domain) => {
                let host = uri.host().trim_end_matches('.');
                let above = host.strip_suffix(domain.as_str());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            Hosts::Network(network, bits) => uri
                .host()
                .parse()
                .is_ok_and(|address| same_network(*network, address, *bits)),
        }
    }
}

/// The bits of an address.
const fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Whether the first `bits` bits are equal. An IPv4 address in the clothes of IPv6 is one of IPv4.
fn same_network(network: IpAddr, address: IpAddr, bits: u32) -> bool {
    match (network, address.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros() >= bits,
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros() >= bits,
        _ => false,
    }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Result<Environment, ProxyError> {
        Environment::from_variables(|name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    /// The host of the proxy that serves `uri`.
    fn serving(environment: &Environment, uri: &str) -> Option<String> {
        let proxy = environment.serving(&WebSocketUri::parse(uri).unwrap())?;
        Some(proxy.uri.host().to_owned())
    }

    #[test]
    fn which_variable_serves_which_scheme() {
        for (variables, ws, wss) in [
            (&[][..], None, None),
            (&[("HTTP_PROXY", "http://a")], Some("a"), None),
            (&[("HTTPS_PROXY", "http://a")], None, Some("a")),
            (&[("ALL_PROXY", "socks5h://a")], Some("a"), Some("a")),
            (&[("all_proxy", "a:1"), ("ALL_PROXY", "b")], Some("a"), Some("a")),
            (&[("http_proxy", "a"), ("HTTP_PROXY", "b")], Some("a"), None),
            (&[("https_proxy", "a"), ("HTTPS_PROXY", "b")], None, Some("a")),
            (&[("http_proxy", "a"), ("ALL_PROXY", "b")], Some("a"), Some("b")),
            (&[("http_proxy", ""), ("HTTP_PROXY", "b")], Some("b"), None),
            // A CGI program: only the name that no header can set.
            (&[("HTTP_PROXY", "a"), ("REQUEST_METHOD", "GET")], None, None),
            (&[("http_proxy", "a"), ("REQUEST_METHOD", "GET")], Some("a"), None),
        ] {
            let environment = environment(variables).unwrap();
            assert_eq!(serving(&environment, "ws://h/").as_deref(), ws, "{variables:?}");
            assert_eq!(serving(&environment, "wss://h/").as_deref(), wss, "{variables:?}");
        }
    }

    #[test]
    fn h6_a_variable_that_is_no_url() {
        let error = environment(&[("HTTPS_PROXY", "http://alice:s3cret@pro\r\nxy")]).unwrap_err();
        assert!(matches!(
            error,
            ProxyError::Environment {
                variable: "HTTPS_PROXY",
                ..
            }
        ));
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn what_no_proxy_excepts() {
        for (no_proxy, excepted, served) in [
            ("*", &["ws://a/", "ws://1.2.3.4/", "ws://[::1]:9/"][..], &[][..]),
            (
                "example.com",
                &["ws://example.com/", "ws://EXAMPLE.com.:81/", "ws://a.b.example.com/"],
                &["ws://notexample.com/", "ws://example.com.evil.com/", "ws://com/"],
            ),
            (
                ".example.com",
                &["ws://example.com/", "ws://a.example.com/"],
                &["ws://aexample.com/"],
            ),
            ("*.example.com", &["ws://a.example.com/"], &["ws://aexample.com/"]),
            (
                "example.com:81",
                &["ws://example.com:81/"],
                &["ws://example.com/", "ws://example.com:82/"],
            ),
            ("example.com:80", &["ws://example.com/"], &["ws://example.com:82/"]),
            (
                "a, b\tc,,d e",
                &["ws://a/", "ws://b/", "ws://c/", "ws://d/", "ws://e/"],
                &["ws://f/"],
            ),
            (
                "127.0.0.1",
                &["ws://127.0.0.1:81/"],
                &["ws://127.0.0.2/", "ws://1.127.0.0.1.example/"],
            ),
            ("127.0.0.1:81", &["ws://127.0.0.1:81/"], &["ws://127.0.0.1/"]),
            (
                "10.0.0.0/9",
                &["ws://10.127.255.255/", "ws://[::ffff:10.1.1.1]/"],
                &["ws://10.128.0.0/", "ws://h/"],
            ),
            ("0.0.0.0/0", &["ws://1.2.3.4/"], &["ws://[::1]/"]),
            ("10.0.0.0/33,10.0.0.0/x,10.0.0/8,.,*.", &[], &["ws://10.0.0.0/"]),
            ("::1", &["ws://[::1]/"], &["ws://[::2]/"]),
            ("[::1]:81", &["ws://[::1]:81/"], &["ws://[::1]/"]),
            ("2001:db8::/32", &["ws://[2001:db8:1::]/"], &["ws://[2001:db9::]/"]),
        ] {
            let environment = environment(&[("ALL_PROXY", "http://p"), ("NO_PROXY", no_proxy)]).unwrap();
            for uri in excepted {
                assert_eq!(serving(&environment, uri), None, "{no_proxy} {uri}");
            }
            for uri in served {
                assert_eq!(serving(&environment, uri).as_deref(), Some("p"), "{no_proxy} {uri}");
            }
        }
    }
}
