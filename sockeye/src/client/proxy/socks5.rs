//! SOCKS5 (RFC 1928), with user name and password (RFC 1929): CONNECT only.
//!
//! Everything that is read has at most 262 bytes, and nothing is read beyond it, so what follows belongs to the tunnel.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Proxy;
use crate::error::{ProxyError, SocksReply};

/// Where the proxy is to connect to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    Address(SocketAddr),
    /// A name that the proxy resolves, of at most 255 bytes.
    Name(&'a str, u16),
}

impl<'a> Target<'a> {
    /// The host of a URI, which may be an address.
    pub(super) fn named(host: &'a str, port: u16) -> Self {
        match host.parse::<IpAddr>() {
            Ok(address) => Self::Address((address, port).into()),
            Err(_) => Self::Name(host, port),
        }
    }

    /// RFC 1928 §5: ATYP, DST.ADDR and DST.PORT.
    fn write(self, out: &mut Vec<u8>) -> Result<(), ProxyError> {
        let port = match self {
            Self::Address(address) => {
                match address.ip() {
                    IpAddr::V4(address) => {
                        out.push(IPV4);
                        out.extend(address.octets());
                    }
                    IpAddr::V6(address) => {
                        out.push(IPV6);
                        out.extend(address.octets());
                    }
                }
                address.port()
            }
            Self::Name(name, port) => {
                // "The first octet of the address field contains the number of octets of name that follow, there is no
                // terminating NUL octet."
                let length =
                    u8::try_from(name.len()).map_err(|_| ProxyError::Socks(SocksReply::AddressTypeNotSupported))?;
                out.extend([DOMAIN_NAME, length]);
                out.extend(name.as_bytes());
                port
            }
        };
        out.extend(port.to_be_bytes());
        Ok(())
    }
}

/// Asks the proxy at the other end of `io` for a tunnel to `target`.
pub(super) async fn connect<T>(io: &mut T, proxy: &Proxy, target: Target<'_>) -> Result<(), ProxyError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let credentials = proxy.uri.username().zip(proxy.uri.password());
    let methods: &[u8] = match credentials {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USERNAME_PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    send(io, methods).await?;
    match (receive(io, VERSION).await?, credentials) {
        (NO_AUTHENTICATION, _) => {}
        (USERNAME_PASSWORD, Some((username, password))) => authenticate(io, username, password).await?,
        // RFC 1928 §3: "If the selected METHOD is X'FF', none of the methods listed by the client are acceptable, and the
        // client MUST close the connection."
        _ => return Err(ProxyError::NoAcceptableMethod),
    }
    let mut request = vec![VERSION, CONNECT, RESERVED];
    target.write(&mut request)?;
    send(io, &request).await?;
    let reply = receive(io, VERSION).await?;
    if reply != SUCCEEDED {
        return Err(ProxyError::Socks(SocksReply::from_code(reply)));
    }
    // The address from which the proxy has connected: its length must be known to know where the tunnel begins.
    let mut head = [0; 2];
    io.read_exact(&mut head).await?;
    let length = match head[1] {
        IPV4 => 4,
        IPV6 => 16,
        DOMAIN_NAME => usize::from(io.read_u8().await?),
        _ => return Err(ProxyError::NotSocks5),
    };
    let mut address = [0; u8::MAX as usize + 2];
    io.read_exact(&mut address[..length + 2]).await?;
    Ok(())
}

impl SocksReply {
    /// What a reply other than 0, which means success, stands for.
    const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::GeneralFailure,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::ConnectionRefused,
            6 => Self::TtlExpired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressTypeNotSupported,
            other => Self::Unassigned(other),
        }
    }
}

/// RFC 1929 §2.
async fn authenticate<T>(io: &mut T, username: &str, password: &str) -> Result<(), ProxyError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = vec![AUTHENTICATION_VERSION];
    for part in [username, password] {
        request.push(u8::try_from(part.len()).map_err(|_| ProxyError::Credentials)?);
        request.extend(part.as_bytes());
    }
    send(io, &request).await?;
    // "A STATUS field of X'00' indicates success. If the server returns a `failure' (STATUS value other than X'00')
    // status, it MUST close the connection."
    match receive(io, AUTHENTICATION_VERSION).await? {
        SUCCEEDED => Ok(()),
        _ => Err(ProxyError::Credentials),
    }
}

async fn send<T: AsyncWrite + Unpin>(io: &mut T, bytes: &[u8]) -> Result<(), ProxyError> {
    io.write_all(bytes).await?;
    Ok(io.flush().await?)
}

/// The two bytes with which every answer begins: a version, and what matters.
async fn receive<T: AsyncRead + Unpin>(io: &mut T, version: u8) -> Result<u8, ProxyError> {
    let mut answer = [0; 2];
    io.read_exact(&mut answer).await?;
    match answer {
        [first, second] if first == version => Ok(second),
        _ => Err(ProxyError::NotSocks5),
    }
}

const VERSION: u8 = 5;
/// RFC 1929 §2: "The VER field contains the current version of the subnegotiation, which is X'01'."
const AUTHENTICATION_VERSION: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const USERNAME_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const RESERVED: u8 = 0;
const IPV4: u8 = 1;
const DOMAIN_NAME: u8 = 3;
const IPV6: u8 = 4;
const SUCCEEDED: u8 = 0;

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// Speaks with a proxy that sends `answers` whatever it hears, and ends; what it heard, and what came of it. The byte
    /// behind the answers must be left alone.
    async fn speak(url: &str, target: Target<'_>, answers: &[u8]) -> (Vec<u8>, Result<(), ProxyError>) {
        let (mut near, mut far) = duplex(1024);
        far.write_all(answers).await.unwrap();
        let connected = connect(&mut near, &Proxy::parse(url).unwrap(), target).await;
        if connected.is_ok() {
            far.write_all(b"t").await.unwrap();
            assert_eq!(near.read_u8().await.unwrap(), b't');
        }
        drop(near);
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.unwrap();
        (heard, connected)
    }

    #[tokio::test]
    async fn rfc1928_without_authentication() {
        let name = Target::named("example.com", 443);
        let (heard, connected) = speak("socks5h://p", name, b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50").await;
        connected.unwrap();
        assert_eq!(heard, b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x01\xbb");
        let v6 = Target::named("::1", 80);
        let (heard, connected) = speak("socks5h://p", v6, b"\x05\x00\x05\x00\x00\x03\x02ab\x00\x50").await;
        connected.unwrap();
        assert_eq!(heard[6..], [&[4][..], &[0; 15], &[1, 0, 80]].concat());
        let v4 = Target::named("192.0.2.1", 80);
        let answers = [&b"\x05\x00\x05\x00\x00\x04"[..], &[0; 18]].concat();
        let (heard, connected) = speak("socks5://p", v4, &answers).await;
        connected.unwrap();
        assert_eq!(heard[6..], [1, 192, 0, 2, 1, 0, 80]);
    }

    #[tokio::test]
    async fn rfc1929_user_name_and_password() {
        let target = Target::named("192.0.2.1", 80);
        let granted = b"\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
        let (heard, connected) = speak("socks5://alice:s3cret@p", target, granted).await;
        connected.unwrap();
        assert!(heard.starts_with(b"\x05\x02\x00\x02\x01\x05alice\x06s3cret\x05\x01\x00"));
        // A proxy may do without.
        let open = b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
        speak("socks5://alice:s3cret@p", target, open).await.1.unwrap();
        let refused = speak("socks5://alice:wrong@p", target, b"\x05\x02\x01\x01").await.1;
        assert!(matches!(refused, Err(ProxyError::Credentials)));
    }

    #[tokio::test]
    async fn rfc1928_what_is_refused() {
        let target = Target::named("192.0.2.1", 80);
        for (url, answers, expected) in [
            (
                "socks5://p",
                &b"\x05\xff"[..],
                "the proxy demands another authentication",
            ),
            ("socks5://p", b"\x05\x02", "the proxy demands another authentication"),
            ("socks5://u@p", b"\x05\x01", "the proxy demands another authentication"),
            ("socks5://p", b"HTTP/1.1 400", "the proxy does not speak SOCKS5"),
            ("socks5://p", b"\x05\x00\x04\x00", "the proxy does not speak SOCKS5"),
            (
                "socks5://p",
                b"\x05\x00\x05\x00\x00\x02",
                "the proxy does not speak SOCKS5",
            ),
            (
                "socks5://p",
                b"\x05\x00\x05\x05",
                "the proxy could not connect: connection refused",
            ),
            (
                "socks5://p",
                b"\x05\x00\x05\x63",
                "the proxy could not connect: for the unassigned reason 99",
            ),
        ] {
            let (_, connected) = speak(url, target, answers).await;
            assert_eq!(connected.unwrap_err().to_string(), expected);
        }
    }

    /// An end at any byte of the answers.
    #[tokio::test]
    async fn an_end_is_an_error_at_every_byte() {
        let answers = b"\x05\x02\x01\x00\x05\x00\x00\x03\x02ab\x00\x50";
        for end in 0..answers.len() {
            let (mut near, mut far) = duplex(1024);
            far.write_all(&answers[..end]).await.unwrap();
            far.shutdown().await.unwrap();
            let proxy = Proxy::parse("socks5://u:p@p").unwrap();
            let connected = connect(&mut near, &proxy, Target::named("a", 1)).await;
            assert!(matches!(connected, Err(ProxyError::Closed)), "{end}: {connected:?}");
        }
    }
}
