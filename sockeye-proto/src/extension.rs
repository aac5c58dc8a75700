//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 §9.1): reading and writing lists of extensions.
//!
//! What an extension and its parameters mean is decided by the extension, for example in `deflate::negotiation`;
//! [`NegotiationError`] is what such a decision may find wrong with a server's answer.
//!
//! Reading takes time linear in the input and memory linear in the number of extensions and parameters, which is
//! bounded: [`MAX_EXTENSIONS`] and [`MAX_PARAMETERS`].

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;

use crate::token;

/// Extensions that are read from one handshake, over all headers; a seventeenth is an error.
pub const MAX_EXTENSIONS: usize = 16;

/// Parameters that are read of one extension; a thirty-third is an error.
pub const MAX_PARAMETERS: usize = 32;

/// One element of the list: the name of an extension with its parameters in order, repetitions included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The name, a token.
    pub name: &'a str,
    /// The parameters, in the order in which they were written.
    pub parameters: Vec<Parameter<'a>>,
}

/// A parameter of an extension, with or without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// The name, a token.
    pub name: &'a str,
    /// The value, a token; what was written as a quoted string stands here without quotes and escapes.
    pub value: Option<Cow<'a, str>>,
}

impl<'a> Parameter<'a> {
    /// A parameter without a value.
    #[must_use]
    pub const fn flag(name: &'a str) -> Self {
        Self { name, value: None }
    }

    /// A parameter with a value.
    #[must_use]
    pub fn with_value(name: &'a str, value: impl Into<Cow<'a, str>>) -> Self {
        Self {
            name,
            value: Some(value.into()),
        }
    }
}

/// Reads the values of all `Sec-WebSocket-Extensions` headers of one request or response, in order.
///
/// Empty list elements are skipped, as RFC 9110 §5.6.1.2 demands of a recipient; a header with nothing else is an
/// empty list.
///
/// ```
/// let values = [b"permessage-deflate; server_max_window_bits=\"10\", x-other".as_slice()];
/// let list = sockeye_proto::extension::parse(values)?;
/// assert_eq!(list.len(), 2);
/// assert_eq!(list[0].parameters[0].value.as_deref(), Some("10"));
/// # Ok::<(), sockeye_proto::extension::ExtensionError>(())
/// ```
///
/// # Errors
///
/// [`ExtensionError`], if a value does not follow the grammar or a limit is passed.
pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Extension<'a>>, ExtensionError> {
    // RFC 6455 §9.1: "Note that like other HTTP header fields, this header field MAY be split or combined across
    // multiple lines."
    let mut list = Vec::new();
    for value in values {
        let mut cursor = Cursor {
            rest: token::trim(value),
        };
        loop {
            while cursor.take(b',') {}
            if cursor.rest.is_empty() {
                break;
            }
            if list.len() == MAX_EXTENSIONS {
                return Err(ExtensionError::TooManyExtensions);
            }
            list.push(cursor.extension()?);
            if !cursor.rest.is_empty() && !cursor.take(b',') {
                return Err(ExtensionError::UnexpectedByte(cursor.rest[0]));
            }
        }
    }
    Ok(list)
}

/// Appends a list of extensions as a header value.
///
/// # Errors
///
/// [`NotToken`] if a name or a value is no token, and nothing is appended: no header can hold it.
pub fn write(list: &[Extension<'_>], out: &mut String) -> Result<(), NotToken> {
    let parameter_is_valid = |parameter: &Parameter<'_>| {
        let mut parts = core::iter::once(parameter.name).chain(parameter.value.as_deref());
        parts.all(|part| token::is_token(part.as_bytes()))
    };
    let is_valid = |extension: &Extension<'_>| {
        token::is_token(extension.name.as_bytes()) && extension.parameters.iter().all(parameter_is_valid)
    };
    if !list.iter().all(is_valid) {
        return Err(NotToken);
    }
    append(list, out);
    Ok(())
}

/// Appends a list whose names and values are tokens.
pub(crate) fn append(list: &[Extension<'_>], out: &mut String) {
    for (index, extension) in list.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        out.push_str(extension.name);
        for parameter in &extension.parameters {
            out.push_str("; ");
            out.push_str(parameter.name);
            if let Some(value) = &parameter.value {
                out.push('=');
                out.push_str(value);
            }
        }
    }
}

/// What is left of one header value. Every method leaves no whitespace in front.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// RFC 6455 §9.1: `extension = extension-token *( ";" extension-param )`.
    fn extension(&mut self) -> Result<Extension<'a>, ExtensionError> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.take(b';') {
            if parameters.len() == MAX_PARAMETERS {
                return Err(ExtensionError::TooManyParameters);
            }
            parameters.push(self.parameter()?);
        }
        Ok(Extension { name, parameters })
    }

    /// RFC 6455 §9.1: `extension-param = token [ "=" (token | quoted-string) ]`.
    fn parameter(&mut self) -> Result<Parameter<'a>, ExtensionError> {
        let name = self.token()?;
        if !self.take(b'=') {
            return Ok(Parameter { name, value: None });
        }
        let value = if self.rest.first() == Some(&b'"') {
            self.quoted()?
        } else {
            Cow::Borrowed(self.token()?)
        };
        Ok(Parameter {
            name,
            value: Some(value),
        })
    }

    fn token(&mut self) -> Result<&'a str, ExtensionError> {
        let length = self
            .rest
            .iter()
            .position(|&byte| !token::is_token_byte(byte))
            .unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(length);
        let Some(token) = token::as_token(token) else {
            return Err(rest.first().map_or(ExtensionError::UnexpectedEnd, |&byte| {
                ExtensionError::UnexpectedByte(byte)
            }));
        };
        self.rest = skip_space(rest);
        Ok(token)
    }

    /// A quoted string, after its opening quote was seen but not taken.
    fn quoted(&mut self) -> Result<Cow<'a, str>, ExtensionError> {
        let body = &self.rest[1..];
        let mut unescaped: Option<String> = None;
        let mut index = 0;
        loop {
            let byte = *body.get(index).ok_or(ExtensionError::UnexpectedEnd)?;
            let byte = match byte {
                b'"' => break,
                b'\\' => {
                    unescaped.get_or_insert_with(|| body[..index].iter().copied().map(char::from).collect());
                    index += 1;
                    *body.get(index).ok_or(ExtensionError::UnexpectedEnd)?
                }
                _ => byte,
            };
            // RFC 6455 §9.1: "When using the quoted-string syntax variant, the value after quoted-string
            // unescaping MUST conform to the 'token' ABNF."
            if !token::is_token_byte(byte) {
                return Err(ExtensionError::QuotedValueNotToken);
            }
            if let Some(text) = &mut unescaped {
                text.push(char::from(byte));
            }
            index += 1;
        }
        let value = match unescaped {
            Some(text) => Cow::Owned(text),
            None => Cow::Borrowed(token::as_token(&body[..index]).ok_or(ExtensionError::QuotedValueNotToken)?),
        };
        self.rest = skip_space(&body[index + 1..]);
        Ok(value)
    }

    /// Takes `byte` and the whitespace after it, if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let Some((_, rest)) = self.rest.split_first().filter(|(first, _)| **first == byte) else {
            return false;
        };
        self.rest = skip_space(rest);
        true
    }
}

fn skip_space(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .iter()
        .position(|&byte| !token::is_space(byte))
        .unwrap_or(bytes.len());
    &bytes[start..]
}

/// Why a `Sec-WebSocket-Extensions` header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtensionError {
    /// A byte that the grammar does not allow at its place.
    UnexpectedByte(u8),
    /// The value ends where a token or a closing quote is missing.
    UnexpectedEnd,
    /// The unescaped value of a quoted string is not a token.
    QuotedValueNotToken,
    /// More than [`MAX_EXTENSIONS`].
    TooManyExtensions,
    /// More than [`MAX_PARAMETERS`] on one extension.
    TooManyParameters,
}

/// A name or a value that was to be written is no token (RFC 2616 §2.2), so that no header can hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotToken;

impl fmt::Display for NotToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or value of an extension is not a token")
    }
}

impl core::error::Error for NotToken {}

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedByte(byte) => {
                write!(f, "unexpected byte {byte:#04x} in a list of extensions")
            }
            Self::UnexpectedEnd => f.write_str("a list of extensions ends too early"),
            Self::QuotedValueNotToken => f.write_str("the quoted value of an extension parameter is not a token"),
            Self::TooManyExtensions => write!(f, "more than {MAX_EXTENSIONS} extensions"),
            Self::TooManyParameters => {
                write!(f, "more than {MAX_PARAMETERS} parameters on one extension")
            }
        }
    }
}

impl core::error::Error for ExtensionError {}

/// Why a client does not accept the extensions that a server answered (RFC 6455 §4.1, RFC 7692 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NegotiationError {
    /// The header does not follow the grammar.
    Malformed(ExtensionError),
    /// The server uses an extension that was not offered.
    NotOffered,
    /// The server uses one extension twice.
    Repeated,
    /// A parameter that permessage-deflate does not define.
    UnknownParameter,
    /// A parameter that stands there twice.
    RepeatedParameter,
    /// A flag with a value, or a window size that is missing or not a number from 8 to 15 without leading zeros.
    IllegalValue,
    /// `client_max_window_bits`, though it was not offered.
    ClientMaxWindowBitsNotOffered,
    /// `client_max_window_bits` larger than what was offered.
    ClientMaxWindowBitsTooLarge,
    /// `server_max_window_bits` larger than what was offered.
    ServerMaxWindowBitsTooLarge,
    /// `server_max_window_bits` was offered and is missing from the answer.
    ServerMaxWindowBitsMissing,
    /// `server_no_context_takeover` was offered and is missing from the answer.
    ServerNoContextTakeoverMissing,
}

impl From<ExtensionError> for NegotiationError {
    fn from(error: ExtensionError) -> Self {
        Self::Malformed(error)
    }
}

impl fmt::Display for NegotiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(error) => return error.fmt(f),
            Self::NotOffered => "the server answers an extension that was not offered",
            Self::Repeated => "the server answers one extension twice",
            Self::UnknownParameter => "the server answers an unknown parameter of permessage-deflate",
            Self::RepeatedParameter => "the server answers a parameter of permessage-deflate twice",
            Self::IllegalValue => "the server answers a parameter of permessage-deflate with an illegal value",
            Self::ClientMaxWindowBitsNotOffered => "the server answers client_max_window_bits, which was not offered",
            Self::ClientMaxWindowBitsTooLarge => "the server answers a larger client_max_window_bits than offered",
            Self::ServerMaxWindowBitsTooLarge => "the server answers a larger server_max_window_bits than offered",
            Self::ServerMaxWindowBitsMissing => "the server's answer lacks the server_max_window_bits asked for",
            Self::ServerNoContextTakeoverMissing => "the server's answer lacks server_no_context_takeover asked for",
        })
    }
}

impl core::error::Error for NegotiationError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            _ => None,
        }
    }
}
