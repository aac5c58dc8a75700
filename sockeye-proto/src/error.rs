//! What can go wrong after the handshake, one variant a violation.
//!
//! Three parties can be at fault, and the types tell them apart: [`ProtocolError`] is what the peer did, against the
//! RFC or against our limits ([`ProtocolError::is_limit`]); [`SendError`] is what the caller asked for. The close
//! code that belongs to an error comes from one place, `From<&ProtocolError> for`
//! [`CloseCode`](crate::close::CloseCode).

use core::fmt;

/// The peer broke a rule of RFC 6455 or RFC 7692, or went past a limit of ours.
///
/// It is returned once; by then the Close frame with the code that belongs to it has been appended to the output,
/// unless a Close had been sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV2 or RSV3 is set; no extension that we know gives them a meaning (§5.2).
    ReservedBits,
    /// RSV1 is set where permessage-deflate was not negotiated, on a continuation, or on a control frame
    /// (RFC 7692 §6).
    UnexpectedRsv1,
    /// Opcode 3–7 or 11–15 (§5.2).
    ReservedOpcode(u8),
    /// The payload length is not in its shortest form (§5.2).
    LengthNotMinimal,
    /// The top bit of a 64-bit length is set (§5.2).
    LengthOverflow,
    /// A client sent a frame without a mask (§5.1).
    UnmaskedFrame,
    /// A server sent a masked frame (§5.1).
    MaskedFrame,
    /// A control frame without FIN (§5.5).
    FragmentedControlFrame,
    /// A control frame of more than 125 bytes (§5.5).
    ControlFrameTooLong,
    /// A continuation where no message is in progress (§5.4).
    UnexpectedContinuation,
    /// A text or binary frame before the message in progress ended (§5.4).
    ExpectedContinuation,
    /// A Close body of one byte (§5.5.1).
    CloseBodyTooShort,
    /// A close code that must not be sent (§7.4).
    InvalidCloseCode(u16),
    /// A close reason that is not UTF-8 (§5.5.1).
    InvalidCloseReason,
    /// A text message that is not UTF-8 (§8.1).
    InvalidUtf8,
    /// A compressed message that does not inflate (RFC 7692 §6.2).
    InvalidDeflate,
    /// A message, as sent or as inflated, longer than the limit.
    MessageTooBig {
        /// The limit, in bytes.
        limit: u64,
    },
    /// A message in more frames than the limit.
    TooManyParts {
        /// The limit, in frames.
        limit: u32,
    },
}

impl ProtocolError {
    /// Whether a limit of ours was passed, rather than a rule of the protocol broken.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::MessageTooBig { .. } | Self::TooManyParts { .. })
    }

    /// What is said in the reason of the Close frame: at most 123 bytes (§5.5), no data of the peer's.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bit set",
            Self::UnexpectedRsv1 => "unexpected RSV1",
            Self::ReservedOpcode(_) => "reserved opcode",
            Self::LengthNotMinimal => "payload length not minimal",
            Self::LengthOverflow => "payload length over 63 bits",
            Self::UnmaskedFrame => "frame of a client not masked",
            Self::MaskedFrame => "frame of a server masked",
            Self::FragmentedControlFrame => "control frame fragmented",
            Self::ControlFrameTooLong => "control frame longer than 125 bytes",
            Self::UnexpectedContinuation => "continuation without a message",
            Self::ExpectedContinuation => "message inside a fragmented message",
            Self::CloseBodyTooShort => "close body of one byte",
            Self::InvalidCloseCode(_) => "invalid close code",
            Self::InvalidCloseReason => "close reason is not UTF-8",
            Self::InvalidUtf8 => "text is not UTF-8",
            Self::InvalidDeflate => "compressed data does not inflate",
            Self::MessageTooBig { .. } => "message too big",
            Self::TooManyParts { .. } => "message in too many parts",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        match self {
            Self::ReservedOpcode(opcode) => write!(f, ": {opcode}"),
            Self::InvalidCloseCode(code) => write!(f, ": {code}"),
            Self::MessageTooBig { limit } => write!(f, ": the limit is {limit} bytes"),
            Self::TooManyParts { limit } => write!(f, ": the limit is {limit} frames"),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for ProtocolError {}

/// The caller asked for something that cannot be sent. Nothing was appended to the output, and the connection is as
/// it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// A Close has been sent or received, or the connection has failed: nothing may follow (§5.5.1).
    Closed,
    /// A whole message, or a fragment of another kind, while a fragmented message is being sent (§5.4).
    MessageInProgress,
    /// A ping or pong of more than 125 bytes (§5.5).
    ControlFrameTooLong,
    /// A close code that an endpoint must not send (§7.4).
    InvalidCloseCode(u16),
    /// A close reason of more than 123 bytes (§5.5).
    ReasonTooLong,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection is closing or closed"),
            Self::MessageInProgress => f.write_str("a fragmented message is being sent"),
            Self::ControlFrameTooLong => f.write_str("a ping or pong carries at most 125 bytes"),
            Self::InvalidCloseCode(code) => write!(f, "close code {code} must not be sent"),
            Self::ReasonTooLong => f.write_str("a close reason has at most 123 bytes"),
        }
    }
}

impl core::error::Error for SendError {}
