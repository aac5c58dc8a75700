//! `host [":" port]`, which a URI, a Host header and an Origin have in common.
//!
//! RFC 3986 §3.2.2 and §3.2.3, read strictly: names of ASCII letters, digits and the unreserved and sub-delimiter
//! marks, IPv4 addresses, IPv6 addresses in brackets. Not read: user information (see [`crate::uri`]), zone
//! identifiers, `IPvFuture`, percent-encoded names (an internationalised name goes in as punycode).

use alloc::{
    format,
    string::{String, ToString},
};
use core::net::{Ipv4Addr, Ipv6Addr};

/// A host and, if it was given, a port. Two spellings of one host are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Authority {
    /// In lower case, without brackets, an IPv6 address in its shortest form.
    pub(crate) host: String,
    pub(crate) ipv6: bool,
    pub(crate) port: Option<u16>,
}

/// What is wrong with an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorityError {
    Host,
    Port,
}

impl Authority {
    pub(crate) fn parse(text: &str) -> Result<Self, AuthorityError> {
        let (host, ipv6, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, after) = rest.split_once(']').ok_or(AuthorityError::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| AuthorityError::Host)?;
            let port = match after.strip_prefix(':') {
                Some(port) => port,
                None if after.is_empty() => "",
                None => return Err(AuthorityError::Host),
            };
            (address.to_string(), true, port)
        } else {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            (parse_name(host)?, false, port)
        };
        Ok(Self {
            host,
            ipv6,
            port: parse_port(port)?,
        })
    }

    /// The host as it stands in a URI or a Host header.
    pub(crate) fn bracketed(&self) -> String {
        if self.ipv6 {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }
}

fn parse_name(name: &str) -> Result<String, AuthorityError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(allowed) {
        return Err(AuthorityError::Host);
    }
    // A name that ends in a number is an IPv4 address or a mistake, for example `127.1` or `10.0.0.256`, that
    // resolvers would read each in their own way.
    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) && name.parse::<Ipv4Addr>().is_err() {
        return Err(AuthorityError::Host);
    }
    Ok(name.to_ascii_lowercase())
}

/// RFC 3986 §3.2.3: `port = *DIGIT`, so an empty one is the default. Nobody listens on port 0.
fn parse_port(port: &str) -> Result<Option<u16>, AuthorityError> {
    if port.is_empty() {
        return Ok(None);
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AuthorityError::Port);
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(AuthorityError::Port),
        Ok(port) => Ok(Some(port)),
    }
}

/// Bytes of the longest name of the DNS in its written form.
const NAME_MAX: usize = 255;
