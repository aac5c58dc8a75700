//! Close codes, Close frames and the states of the closing handshake (RFC 6455 §7).

use core::fmt;

use crate::error::{ProtocolError, SendError};
use crate::frame::ControlPayload;
use crate::utf8::Utf8Bytes;

/// A close code (§7.4): why an endpoint ends the connection.
///
/// Any number is representable, since a peer may use codes that are registered later or private ones; what may
/// stand in a Close frame is told by [`CloseCode::is_sendable`].
///
/// ```
/// use sockeye_proto::close::CloseCode;
///
/// assert_eq!(CloseCode::GOING_AWAY.to_string(), "1001 going away");
/// assert!(CloseCode::new(4001).is_sendable());
/// assert!(!CloseCode::NO_STATUS.is_sendable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

/// The codes with a name: constant, number, name, meaning.
macro_rules! close_codes {
    ($($constant:ident = $code:literal, $name:literal, $meaning:literal;)*) => {
        impl CloseCode {
            $(#[doc = $meaning] pub const $constant: Self = Self($code);)*

            /// The code's short name, if it has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($code => Some($name),)* _ => None }
            }

            /// What the code means, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self.0 {
                    $($code => $meaning,)*
                    3000..=3999 => "A code registered by a library or framework.",
                    4000..=4999 => "A private code of the application.",
                    _ => "A code without a meaning.",
                }
            }
        }
    };
}

close_codes! {
    NORMAL = 1000, "normal closure", "The purpose of the connection has been fulfilled.";
    GOING_AWAY = 1001, "going away", "The endpoint goes away: a server that shuts down, a page that is left.";
    PROTOCOL_ERROR = 1002, "protocol error", "The peer broke the protocol.";
    UNSUPPORTED_DATA = 1003, "unsupported data", "A kind of data came that the endpoint cannot take.";
    NO_STATUS = 1005, "no status received", "Never sent: the Close frame that came had no code.";
    ABNORMAL = 1006, "abnormal closure", "Never sent: the connection ended without a Close frame.";
    INVALID_PAYLOAD = 1007, "invalid payload data", "Data came that is not of its type, such as text that is not UTF-8.";
    POLICY_VIOLATION = 1008, "policy violation", "A message broke the endpoint's policy.";
    MESSAGE_TOO_BIG = 1009, "message too big", "A message is too big to be processed.";
    MANDATORY_EXTENSION = 1010, "mandatory extension", "The client needs an extension that the server did not agree to.";
    INTERNAL_ERROR = 1011, "internal error", "The server met an unexpected condition.";
    SERVICE_RESTART = 1012, "service restart", "The service restarts; come back later.";
    TRY_AGAIN_LATER = 1013, "try again later", "The server is overloaded; come back later.";
    BAD_GATEWAY = 1014, "bad gateway", "A gateway got an invalid answer from the server behind it.";
    TLS_HANDSHAKE = 1015, "TLS handshake", "Never sent: the TLS handshake failed.";
}

impl CloseCode {
    /// The code of this number.
    #[must_use]
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The code as a number.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether the code may stand in a Close frame, sent or received.
    ///
    /// Those are 1000–1014 less 1004, 1005 and 1006 (§7.4.1 and the IANA registry), and 3000–4999 (§7.4.2).
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({self})")
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.name().map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

/// The code with which a connection fails for an error (§7.1.7): the one place that decides it.
impl From<&ProtocolError> for CloseCode {
    fn from(error: &ProtocolError) -> Self {
        match error {
            ProtocolError::InvalidUtf8 | ProtocolError::InvalidCloseReason | ProtocolError::InvalidDeflate => {
                Self::INVALID_PAYLOAD
            }
            ProtocolError::MessageTooBig { .. } => Self::MESSAGE_TOO_BIG,
            ProtocolError::TooManyParts { .. } => Self::POLICY_VIOLATION,
            ProtocolError::ReservedBits
            | ProtocolError::UnexpectedRsv1
            | ProtocolError::ReservedOpcode(_)
            | ProtocolError::LengthNotMinimal
            | ProtocolError::LengthOverflow
            | ProtocolError::UnmaskedFrame
            | ProtocolError::MaskedFrame
            | ProtocolError::FragmentedControlFrame
            | ProtocolError::ControlFrameTooLong
            | ProtocolError::UnexpectedContinuation
            | ProtocolError::ExpectedContinuation
            | ProtocolError::CloseBodyTooShort
            | ProtocolError::InvalidCloseCode(_) => Self::PROTOCOL_ERROR,
        }
    }
}

/// The body of a Close frame that has one (§5.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why the peer closes.
    pub code: CloseCode,
    /// An explanation, at most 123 bytes, for people who read logs; often empty.
    pub reason: Utf8Bytes,
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)?;
        if self.reason.is_empty() {
            return Ok(());
        }
        // The reason is the peer's: keep its control characters out of logs and terminals.
        write!(f, " ({})", self.reason.escape_debug())
    }
}

/// Where the closing handshake stands (§7.1). The handshake before it is a type of its own, not a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseState {
    /// No Close has been sent or received.
    Open,
    /// We have sent a Close and the peer's has not come.
    Closing,
    /// Both were exchanged, or the connection has failed. What still arrives is discarded.
    Closed,
}

/// Reads the body of a Close frame.
pub(crate) fn decode_body(body: &[u8]) -> Result<Option<CloseFrame>, ProtocolError> {
    // §5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer (in network byte
    // order) representing a status code".
    let (code, reason) = match body {
        [] => return Ok(None),
        [_] => return Err(ProtocolError::CloseBodyTooShort),
        [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
    };
    if !code.is_sendable() {
        return Err(ProtocolError::InvalidCloseCode(code.0));
    }
    let reason = core::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
    Ok(Some(CloseFrame {
        code,
        reason: Utf8Bytes::from(reason),
    }))
}

/// Writes the body of a Close frame: empty for [`CloseCode::NO_STATUS`], which must come without a reason.
pub(crate) fn encode_body(code: CloseCode, reason: &str) -> Result<ControlPayload, SendError> {
    if code == CloseCode::NO_STATUS && reason.is_empty() {
        return Ok(ControlPayload::default());
    }
    if !code.is_sendable() {
        return Err(SendError::InvalidCloseCode(code.0));
    }
    if reason.len() > MAX_REASON {
        return Err(SendError::ReasonTooLong);
    }
    let mut body = ControlPayload::default();
    body.append(&code.0.to_be_bytes());
    body.append(reason.as_bytes());
    Ok(body)
}

/// §5.5: a control frame has at most 125 bytes, and two of them are the code.
const MAX_REASON: usize = 123;
