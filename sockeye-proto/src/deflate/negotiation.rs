//! Agreeing on permessage-deflate in the opening handshake (RFC 7692 §5 and §7.1), for both roles.
//!
//! A client writes [`offers`] and checks the answer with [`accept_response`]; a server answers with [`answer`].
//! The result for both is [`DeflateParams`]. What the endpoint wants is `DeflateOptions`; compressing is the codec's.

use alloc::{string::String, vec::Vec};

use super::options::DeflateOptions;
use crate::connection::Role;
use crate::extension::{self, Extension, NegotiationError, Parameter};

/// The name of the extension.
pub const PERMESSAGE_DEFLATE: &str = "permessage-deflate";

/// What both endpoints agreed on, in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeflateParams {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: u8,
    client_max_window_bits: u8,
}

/// The part of [`DeflateParams`] that governs one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeflateDirection {
    /// Whether a message may refer to the ones before it.
    pub context_takeover: bool,
    /// The largest window in bits, 8 to 15. With 8 the codec never compresses, for a raw deflate stream of zlib
    /// needs 9; any inflater of 9 or more bits reads what the peer compresses with 8.
    pub max_window_bits: u8,
}

impl DeflateParams {
    /// The parameters for the two directions, for a codec that is used without a handshake.
    ///
    /// `None` unless both windows are 8 to 15 bits.
    #[must_use]
    pub const fn new(client_to_server: DeflateDirection, server_to_client: DeflateDirection) -> Option<Self> {
        let client_max_window_bits = client_to_server.max_window_bits;
        let server_max_window_bits = server_to_client.max_window_bits;
        if client_max_window_bits < 8
            || client_max_window_bits > 15
            || server_max_window_bits < 8
            || server_max_window_bits > 15
        {
            return None;
        }
        Some(Self {
            server_no_context_takeover: !server_to_client.context_takeover,
            client_no_context_takeover: !client_to_server.context_takeover,
            server_max_window_bits,
            client_max_window_bits,
        })
    }

    /// What the client compresses with and the server inflates with.
    #[must_use]
    pub const fn client_to_server(self) -> DeflateDirection {
        DeflateDirection {
            context_takeover: !self.client_no_context_takeover,
            max_window_bits: self.client_max_window_bits,
        }
    }

    /// What the server compresses with and the client inflates with.
    #[must_use]
    pub const fn server_to_client(self) -> DeflateDirection {
        DeflateDirection {
            context_takeover: !self.server_no_context_takeover,
            max_window_bits: self.server_max_window_bits,
        }
    }

    pub(crate) const fn own_context_takeover(self, role: Role) -> bool {
        self.sent_by(role).context_takeover
    }

    pub(crate) const fn peer_context_takeover(self, role: Role) -> bool {
        match role {
            Role::Client => self.sent_by(Role::Server).context_takeover,
            Role::Server => self.sent_by(Role::Client).context_takeover,
        }
    }

    pub(crate) const fn own_window_bits(self, role: Role) -> u8 {
        self.sent_by(role).max_window_bits
    }

    const fn sent_by(self, role: Role) -> DeflateDirection {
        match role {
            Role::Client => self.client_to_server(),
            Role::Server => self.server_to_client(),
        }
    }

    /// Whether the server forgets its window after each message.
    #[must_use]
    pub const fn server_no_context_takeover(self) -> bool {
        self.server_no_context_takeover
    }

    /// Whether the client forgets its window after each message.
    #[must_use]
    pub const fn client_no_context_takeover(self) -> bool {
        self.client_no_context_takeover
    }

    /// The window of the server's compressor in bits, 9 to 15 (a client may read 8 from a server).
    #[must_use]
    pub const fn server_max_window_bits(self) -> u8 {
        self.server_max_window_bits
    }

    /// The window of the client's compressor in bits, 8 to 15.
    #[must_use]
    pub const fn client_max_window_bits(self) -> u8 {
        self.client_max_window_bits
    }
}

/// The value of a client's `Sec-WebSocket-Extensions` header: the exact wish first, then plainer ones.
///
/// The second offer leaves out what concerns the client's own compressor, which the client can heed alone, for
/// servers that decline such hints. The last one, only with `peer_limits_required` off, has no parameters at all.
#[must_use]
pub fn offers(options: &DeflateOptions) -> String {
    let list: Vec<Extension<'_>> = offer_list(options).iter().map(Parameters::extension).collect();
    let mut value = String::new();
    extension::append(&list, &mut value);
    value
}

/// Checks the extensions of a server's response against [`offers`] of the same options. `None`: no compression.
///
/// # Errors
///
/// [`NegotiationError`], if the response is none of what was offered. The client must then fail the connection.
pub fn accept_response(
    options: &DeflateOptions,
    response: &[Extension<'_>],
) -> Result<Option<DeflateParams>, NegotiationError> {
    // RFC 6455 §4.1: "If the response includes a |Sec-WebSocket-Extensions| header field and this header field
    // indicates the use of an extension that was not present in the client's handshake (the server has indicated an
    // extension not requested by the client), the client MUST _Fail the WebSocket Connection_."
    if response.iter().any(|extension| extension.name != PERMESSAGE_DEFLATE) {
        return Err(NegotiationError::NotOffered);
    }
    let answer = match response {
        [] => return Ok(None),
        [answer] => Parameters::parse(answer)?,
        _ => return Err(NegotiationError::Repeated),
    };
    // RFC 7692 §7.1.2.2: only an offer may name this parameter without a value.
    if answer.client_max_window_bits == Some(None) {
        return Err(NegotiationError::IllegalValue);
    }
    let offers = offer_list(options);
    let mut refused = NegotiationError::NotOffered;
    for (index, offer) in offers.iter().enumerate() {
        match offer.agrees_with(&answer) {
            Ok(()) => return Ok(Some(agreed_by_client(options, &answer))),
            Err(error) if index == 0 => refused = error,
            Err(_) => {}
        }
    }
    // What the exact wish misses tells most.
    Err(refused)
}

/// A server's choice among a client's offers: the first that it can do, and the extension's answer as a header
/// value. `None`: no compression.
///
/// An offer that is malformed, or that asks for a window of 8 bits for the server, is passed over.
#[must_use]
pub fn answer(options: &DeflateOptions, offers: &[Extension<'_>]) -> Option<(DeflateParams, String)> {
    // RFC 7692 §5: "The order of elements is important as it specifies the client's preference. An element preceding
    // another element has higher preference."
    let answer = offers
        .iter()
        .filter(|offer| offer.name == PERMESSAGE_DEFLATE)
        .filter_map(|offer| Parameters::parse(offer).ok())
        .find_map(|offer| answer_one(options, &offer))?;
    let params = DeflateParams {
        server_no_context_takeover: answer.server_no_context_takeover,
        client_no_context_takeover: answer.client_no_context_takeover,
        server_max_window_bits: answer.server_max_window_bits.unwrap_or(DeflateOptions::MAX_WINDOW_BITS),
        client_max_window_bits: answer
            .client_max_window_bits
            .flatten()
            .unwrap_or(DeflateOptions::MAX_WINDOW_BITS),
    };
    let mut value = String::new();
    extension::append(&[answer.extension()], &mut value);
    Some((params, value))
}

/// The server's answer to one offer, or `None` to decline it.
fn answer_one(options: &DeflateOptions, offer: &Parameters) -> Option<Parameters> {
    // RFC 7692 §7.1.2.1: "A server declines an extension negotiation offer with this parameter if the server doesn't
    // support it." A window of 8 bits is what zlib cannot do in a raw stream.
    if offer
        .server_max_window_bits
        .is_some_and(|bits| bits < DeflateOptions::MIN_WINDOW_BITS)
    {
        return None;
    }
    let own = options
        .own_max_window_bits()
        .min(offer.server_max_window_bits.unwrap_or(DeflateOptions::MAX_WINDOW_BITS));
    let server_max_window_bits =
        (offer.server_max_window_bits.is_some() || own < DeflateOptions::MAX_WINDOW_BITS).then_some(own);

    // RFC 7692 §7.1.2.2: "If a received extension negotiation offer doesn't have the "client_max_window_bits"
    // extension parameter, the corresponding extension negotiation response to the offer MUST NOT include the
    // "client_max_window_bits" extension parameter."
    let limit = options.peer_max_window_bits();
    let client_max_window_bits = match offer.client_max_window_bits {
        None if limit < DeflateOptions::MAX_WINDOW_BITS && options.peer_limits_required() => {
            return None;
        }
        None => None,
        // "with a value equal to or smaller than the received value"
        Some(Some(hint)) => Some(Some(hint.min(limit))),
        Some(None) if limit < DeflateOptions::MAX_WINDOW_BITS => Some(Some(limit)),
        Some(None) => None,
    };
    Some(Parameters {
        // RFC 7692 §7.1.1.1 and §7.1.1.2 let a server answer both without having been asked.
        server_no_context_takeover: offer.server_no_context_takeover || !options.own_context_takeover(),
        client_no_context_takeover: offer.client_no_context_takeover || !options.peer_context_takeover(),
        server_max_window_bits,
        client_max_window_bits,
    })
}

/// What holds after a client has accepted `answer`. A client may always do less than it is allowed.
fn agreed_by_client(options: &DeflateOptions, answer: &Parameters) -> DeflateParams {
    let allowed = answer
        .client_max_window_bits
        .flatten()
        .unwrap_or(DeflateOptions::MAX_WINDOW_BITS);
    DeflateParams {
        server_no_context_takeover: answer.server_no_context_takeover,
        client_no_context_takeover: answer.client_no_context_takeover || !options.own_context_takeover(),
        server_max_window_bits: answer.server_max_window_bits.unwrap_or(DeflateOptions::MAX_WINDOW_BITS),
        client_max_window_bits: allowed.min(options.own_max_window_bits()),
    }
}

/// The offers of a client, best first, each once.
fn offer_list(options: &DeflateOptions) -> Vec<Parameters> {
    let own = options.own_max_window_bits();
    let peer = options.peer_max_window_bits();
    let exact = Parameters {
        server_no_context_takeover: !options.peer_context_takeover(),
        client_no_context_takeover: !options.own_context_takeover(),
        server_max_window_bits: (peer < DeflateOptions::MAX_WINDOW_BITS).then_some(peer),
        client_max_window_bits: options
            .own_max_window_bits_offered()
            .then_some((own < DeflateOptions::MAX_WINDOW_BITS).then_some(own)),
    };
    let without_hints = Parameters {
        client_no_context_takeover: false,
        client_max_window_bits: None,
        ..exact
    };
    let mut list = Vec::from([exact, without_hints]);
    if !options.peer_limits_required() {
        list.push(Parameters::default());
    }
    list.dedup();
    list
}

/// The four parameters as they stand in one offer or answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// The inner `None` is the parameter without a value, which only an offer may have.
    client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// Reads one element of the list.
    fn parse(extension: &Extension<'_>) -> Result<Self, NegotiationError> {
        let mut parameters = Self::default();
        for parameter in &extension.parameters {
            let value = parameter.value.as_deref();
            // RFC 7692 §7.1: an offer is declined, and a response fails the connection, if it has a parameter that is
            // not defined for its use, one with an invalid value, or two with the same name.
            let repeated = match parameter.name {
                SERVER_NO_CONTEXT_TAKEOVER => {
                    no_value(value)?;
                    core::mem::replace(&mut parameters.server_no_context_takeover, true)
                }
                CLIENT_NO_CONTEXT_TAKEOVER => {
                    no_value(value)?;
                    core::mem::replace(&mut parameters.client_no_context_takeover, true)
                }
                SERVER_MAX_WINDOW_BITS => {
                    let bits = window_bits(value.ok_or(NegotiationError::IllegalValue)?)?;
                    parameters.server_max_window_bits.replace(bits).is_some()
                }
                CLIENT_MAX_WINDOW_BITS => {
                    let bits = value.map(window_bits).transpose()?;
                    parameters.client_max_window_bits.replace(bits).is_some()
                }
                _ => return Err(NegotiationError::UnknownParameter),
            };
            if repeated {
                return Err(NegotiationError::RepeatedParameter);
            }
        }
        Ok(parameters)
    }

    /// Whether `answer`, from a server, fits this offer.
    fn agrees_with(&self, answer: &Self) -> Result<(), NegotiationError> {
        // RFC 7692 §7.1.1.1: "A server accepts an extension negotiation offer that includes the
        // "server_no_context_takeover" extension parameter by including the "server_no_context_takeover" extension
        // parameter in the corresponding extension negotiation response to send back to the client."
        if self.server_no_context_takeover && !answer.server_no_context_takeover {
            return Err(NegotiationError::ServerNoContextTakeoverMissing);
        }
        // RFC 7692 §7.1.2.1: "by including the "server_max_window_bits" extension parameter in the extension
        // negotiation response to send back to the client with the same or smaller value as the offer."
        match (self.server_max_window_bits, answer.server_max_window_bits) {
            (Some(_), None) => return Err(NegotiationError::ServerMaxWindowBitsMissing),
            (Some(offered), Some(bits)) if bits > offered => {
                return Err(NegotiationError::ServerMaxWindowBitsTooLarge);
            }
            _ => {}
        }
        match (self.client_max_window_bits, answer.client_max_window_bits) {
            (None, Some(_)) => Err(NegotiationError::ClientMaxWindowBitsNotOffered),
            (Some(Some(offered)), Some(Some(bits))) if bits > offered => {
                Err(NegotiationError::ClientMaxWindowBitsTooLarge)
            }
            _ => Ok(()),
        }
    }

    /// The element of the list for an offer or an answer.
    fn extension(&self) -> Extension<'static> {
        let mut parameters = Vec::new();
        if self.server_no_context_takeover {
            parameters.push(Parameter::flag(SERVER_NO_CONTEXT_TAKEOVER));
        }
        if self.client_no_context_takeover {
            parameters.push(Parameter::flag(CLIENT_NO_CONTEXT_TAKEOVER));
        }
        if let Some(bits) = self.server_max_window_bits {
            parameters.push(Parameter::with_value(SERVER_MAX_WINDOW_BITS, decimal(bits)));
        }
        match self.client_max_window_bits {
            Some(Some(bits)) => {
                parameters.push(Parameter::with_value(CLIENT_MAX_WINDOW_BITS, decimal(bits)));
            }
            Some(None) => parameters.push(Parameter::flag(CLIENT_MAX_WINDOW_BITS)),
            None => {}
        }
        Extension {
            name: PERMESSAGE_DEFLATE,
            parameters,
        }
    }
}

fn no_value(value: Option<&str>) -> Result<(), NegotiationError> {
    if value.is_some() {
        Err(NegotiationError::IllegalValue)
    } else {
        Ok(())
    }
}

/// RFC 7692 §7.1.2.1: "This parameter has a decimal integer value without leading zeroes between 8 to 15, inclusive".
fn window_bits(value: &str) -> Result<u8, NegotiationError> {
    let index = WINDOW_BITS
        .iter()
        .position(|text| *text == value)
        .ok_or(NegotiationError::IllegalValue)?;
    Ok(index as u8 + 8)
}

fn decimal(bits: u8) -> &'static str {
    WINDOW_BITS[usize::from(bits.clamp(8, 15) - 8)]
}

/// The only spellings of a window size, from 8.
const WINDOW_BITS: [&str; 8] = ["8", "9", "10", "11", "12", "13", "14", "15"];

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";
