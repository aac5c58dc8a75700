//! The values of flags: numbers with units, addresses, headers, and what must not be shown.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

/// A host and a port to listen on.
#[derive(Debug, Clone)]
pub(crate) struct Address(String);

impl Address {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(Self(text.into())),
            _ => Err("an address is a host and a port, such as 127.0.0.1:9001"),
        }
    }
}

/// What may hold a password. It takes any text, since clap shows what a parser refuses; and it has no `Display`.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A URL without its user information, also if it is none.
pub(crate) fn without_credentials(url: &str) -> String {
    // The last, since a password may hold others that should have been percent-encoded.
    let Some(at) = url.rfind('@') else {
        return url.to_owned();
    };
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match url[..at].split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => format!("{scheme}://…{}", &url[at..]),
        _ => format!("…{}", &url[at..]),
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(u64);

impl Size {
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str =
            "a size is a number of bytes, or a whole number with K, M or G behind it, such as 16M or 16MiB";
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| HELP)?;
        let unit = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            _ => return Err(HELP),
        };
        match number.checked_mul(unit) {
            Some(0) => Err("no message fits into 0 bytes; give at least 1"),
            Some(bytes) => Ok(Self(bytes)),
            None => Err("that is more than can be counted; give less than 16 EiB"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A time, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(Duration);

impl Seconds {
    pub(crate) fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `f64` knows more ways to write a number than people expect: infinity, NaN, exponents, signs.
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        text.parse()
            .ok()
            .filter(|seconds| plain && (0.001..=MAX_SECONDS).contains(seconds))
            .map(|seconds| Self(Duration::from_secs_f64(seconds)))
            .ok_or("a time is a number of seconds from 0.001 to 86400, such as 10 or 0.5")
    }
}

/// How often to ping: every so many seconds, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(Option<Duration>);

impl Period {
    pub(crate) fn duration(self) -> Option<Duration> {
        self.0
    }
}

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "0" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|seconds: Seconds| Self(Some(seconds.duration())))
            .map_err(|_| "a period is a number of seconds from 0.001 to 86400, such as 20 or 0.5, or 0 for no pings")
    }
}

/// A number of threads, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threads(NonZeroUsize);

impl Threads {
    pub(crate) const ONE: Self = Self(NonZeroUsize::MIN);

    pub(crate) fn get(self) -> usize {
        self.0.get()
    }
}

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .ok()
            .filter(|threads: &NonZeroUsize| threads.get() <= MAX_THREADS)
            .map(Self)
            .ok_or_else(|| format!("give a number of threads from 1 to {MAX_THREADS}"))
    }
}

/// More threads than any machine has use for.
const MAX_THREADS: usize = 1024;

/// A day.
const MAX_SECONDS: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_have_a_binary_unit_in_any_case() {
        let bytes = |text: &str| text.parse::<Size>().map(Size::bytes).ok();
        assert_eq!(bytes("1"), Some(1));
        for (kibi, mebi, gibi) in [("64K", "16M", "1G"), ("64k", "16m", "1g"), ("64KiB", "16mib", "1GIB")] {
            assert_eq!(bytes(kibi), Some(64 << 10));
            assert_eq!(bytes(mebi), Some(16 << 20));
            assert_eq!(bytes(gibi), Some(1 << 30));
        }
        assert_eq!(bytes("2 MiB"), Some(2 << 20));
        for wrong in [
            "",
            "0",
            "0K",
            "KiB",
            "-1",
            "1.5MiB",
            "1MB",
            "1 TiB",
            "99999999999999GiB",
            "18446744073709551616",
        ] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_seconds_with_or_without_a_fraction() {
        let milliseconds = |text: &str| text.parse().map(|seconds: Seconds| seconds.duration().as_millis()).ok();
        assert_eq!(milliseconds("10"), Some(10_000));
        assert_eq!(milliseconds("0.5"), Some(500));
        assert_eq!(milliseconds(".25"), Some(250));
        assert_eq!(milliseconds("86400"), Some(86_400_000));
        for wrong in [
            "", "0", "0.0001", "-1", "+1", "1e3", "inf", "nan", "5s", "86401", "1.2.3", ".",
        ] {
            assert_eq!(milliseconds(wrong), None, "{wrong}");
        }
        assert_eq!("0".parse(), Ok(Period(None)));
        assert_eq!("2".parse(), Ok(Period(Some(Duration::from_secs(2)))));
        assert!("-1".parse::<Period>().is_err());
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for address in ["127.0.0.1:0", "[::1]:9001", "localhost:80"] {
            assert!(address.parse::<Address>().is_ok(), "{address}");
        }
        for address in ["9001", ":9001", "localhost", "127.0.0.1:70000", "127.0.0.1:"] {
            assert!(address.parse::<Address>().is_err(), "{address}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        for (text, shown) in [
            ("ws://host/path", "ws://host/path"),
            ("ws://alice:s3cret@host/", "ws://…@host/"),
            ("ws://alice:s3c/r@t@host/", "ws://…@host/"),
            ("ws://alice:s3 cret@host/", "ws://…@host/"),
            ("alice:s3cret@host", "…@host"),
            ("alice:s3://cret@host", "…@host"),
            ("@", "…@"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
        assert!(!format!("{:?}", Secret::from("s3cret".to_owned())).contains("s3cret"));
    }
}
