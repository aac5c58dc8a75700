//! What one endpoint wants of permessage-deflate, before anything is negotiated.

use core::fmt;

#[cfg(feature = "deflate")]
use super::DeflaterSettings;

/// What one endpoint wants of permessage-deflate: what it asks of its peer and how its own codec works.
///
/// "Own" is the direction in which this endpoint compresses, "peer" the one in which it inflates, so the options
/// of a client and of a server read alike. Start from [`DeflateOptions::client`] or [`DeflateOptions::server`].
///
/// Memory: with context takeover a connection owns a compressor of 140 KiB + 2^(window bits + 2) + 7 × 2^(memory level + 6)
/// bytes, which is 379 KiB at 15 and 8, 153 KiB at 9 and 1, and an inflater of 55 KiB whatever the window, as zlib-rs
/// always makes it for the largest. Without, codecs belong to the thread, and to a connection only while a message is
/// under way, so an idle one owns nothing: whole messages are then compressed by an encoder of 43 KiB, from level 3 on
/// of 43 KiB + 2^(window bits + 1) bytes (107 KiB at 15), and fragments by a compressor as above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateOptions {
    own_context_takeover: bool,
    peer_context_takeover: bool,
    own_max_window_bits: u8,
    peer_max_window_bits: u8,
    offer_own_max_window_bits: bool,
    peer_limits_required: bool,
    level: u8,
    memory_level: u8,
    threshold: usize,
}

impl DeflateOptions {
    /// The smallest window that the codec can compress with, in bits: 512 bytes. RFC 7692 allows 8 as well, which a
    /// raw deflate stream of zlib cannot have.
    pub const MIN_WINDOW_BITS: u8 = 9;

    /// The largest window, in bits: 32 KiB, also what holds when nothing is negotiated.
    pub const MAX_WINDOW_BITS: u8 = 15;

    /// The defaults of a client, which has one connection or few: context takeover both ways, windows of 32 KiB.
    #[must_use]
    pub const fn client() -> Self {
        Self {
            own_context_takeover: true,
            peer_context_takeover: true,
            own_max_window_bits: Self::MAX_WINDOW_BITS,
            peer_max_window_bits: Self::MAX_WINDOW_BITS,
            offer_own_max_window_bits: true,
            peer_limits_required: true,
            level: 6,
            memory_level: 8,
            threshold: 64,
        }
    }

    /// The defaults of a server, which may have very many connections: no context takeover either way, so that an
    /// idle connection owns no byte of compression state. It costs compression ratio on small, similar messages. Level 2,
    /// since a server's time is dear.
    #[must_use]
    pub const fn server() -> Self {
        let mut options = Self::client();
        options.own_context_takeover = false;
        options.peer_context_takeover = false;
        options.level = 2;
        options
    }

    /// Whether the own compressor may refer to earlier messages. Default: client true, server false.
    #[must_use]
    pub const fn with_own_context_takeover(mut self, allowed: bool) -> Self {
        self.own_context_takeover = allowed;
        self
    }

    /// Whether the peer's compressor may refer to earlier messages, for which this endpoint keeps a window between
    /// messages. Default: client true, server false.
    #[must_use]
    pub const fn with_peer_context_takeover(mut self, allowed: bool) -> Self {
        self.peer_context_takeover = allowed;
        self
    }

    /// The window of the own compressor, in bits. Default: 15.
    ///
    /// # Errors
    ///
    /// [`DeflateOptionsError::WindowBits`] unless it is 9 to 15.
    pub const fn with_own_max_window_bits(mut self, bits: u8) -> Result<Self, DeflateOptionsError> {
        if bits < Self::MIN_WINDOW_BITS || bits > Self::MAX_WINDOW_BITS {
            return Err(DeflateOptionsError::WindowBits(bits));
        }
        self.own_max_window_bits = bits;
        Ok(self)
    }

    /// The largest window that the peer's compressor may use, in bits: a limit on the peer's memory, since the own inflater
    /// takes the same for any window. Default: 15.
    ///
    /// # Errors
    ///
    /// [`DeflateOptionsError::WindowBits`] unless it is 9 to 15.
    pub const fn with_peer_max_window_bits(mut self, bits: u8) -> Result<Self, DeflateOptionsError> {
        if bits < Self::MIN_WINDOW_BITS || bits > Self::MAX_WINDOW_BITS {
            return Err(DeflateOptionsError::WindowBits(bits));
        }
        self.peer_max_window_bits = bits;
        Ok(self)
    }

    /// Whether a client offers `client_max_window_bits`, which lets the server shrink the client's window. Default:
    /// true. A server does not use it.
    #[must_use]
    pub const fn with_own_max_window_bits_offered(mut self, offered: bool) -> Self {
        self.offer_own_max_window_bits = offered;
        self
    }

    /// Whether the connection goes without compression when the peer does not agree to the limits on its context
    /// takeover and window. Default: true. With false a client adds a last offer without limits, and a server
    /// accepts a client that does not let its window be limited; the memory of the inflater is then up to the peer.
    #[must_use]
    pub const fn with_peer_limits_required(mut self, required: bool) -> Self {
        self.peer_limits_required = required;
        self
    }

    /// Effort of the compressor, from 1 (fast) to 9 (small). Default: client 6, server 2.
    ///
    /// What levels cost without context takeover, relative to level 2, and what they make of messages: arrays of JSON
    /// objects of 1 KiB and 256 KiB, and prose of 1 KiB. zlib's level 6 makes 329, 48,454 and 536 bytes of these.
    /// (With context takeover and for fragments the levels are zlib's own.)
    ///
    /// | level | time | JSON, 1 KiB | JSON, 256 KiB | prose, 1 KiB |
    /// |---|---|---|---|---|
    /// | 1 | 0.9–0.95 | 351 | 62,411 | 550 |
    /// | 2 | 1 | 345 | 57,591 | 546 |
    /// | 3 | 1.3–1.4 | 340 | 55,304 | 543 |
    /// | 4 | 1.3–1.7 | 336 | 52,640 | 542 |
    /// | 6 | 1.3–2.4 | 332 | 50,056 | 539 |
    /// | 7 | 1.3–4.3 | 331 | 46,378 | 539 |
    /// | 9 | 1.3–15 | 331 | 44,594 | 539 |
    ///
    /// Level 2 takes a third of the time of zlib-rs at level 6 for messages of 1 KiB, and about a quarter for larger ones.
    ///
    /// # Errors
    ///
    /// [`DeflateOptionsError::Level`] unless it is 1 to 9.
    pub const fn with_level(mut self, level: u8) -> Result<Self, DeflateOptionsError> {
        if level < 1 || level > 9 {
            return Err(DeflateOptionsError::Level(level));
        }
        self.level = level;
        Ok(self)
    }

    /// Memory of the compressor beside its window, 7 × 2^(level + 6) bytes, from 1 to 9. Default: 8, 112 KiB. It is of no
    /// effect on whole messages without context takeover.
    ///
    /// # Errors
    ///
    /// [`DeflateOptionsError::MemoryLevel`] unless it is 1 to 9.
    pub const fn with_memory_level(mut self, level: u8) -> Result<Self, DeflateOptionsError> {
        if level < 1 || level > 9 {
            return Err(DeflateOptionsError::MemoryLevel(level));
        }
        self.memory_level = level;
        Ok(self)
    }

    /// Messages of fewer bytes are sent uncompressed. Default: 64 bytes, below which deflate seldom saves anything.
    #[must_use]
    pub const fn with_threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// See [`with_own_context_takeover`](Self::with_own_context_takeover).
    #[must_use]
    pub const fn own_context_takeover(&self) -> bool {
        self.own_context_takeover
    }

    /// See [`with_peer_context_takeover`](Self::with_peer_context_takeover).
    #[must_use]
    pub const fn peer_context_takeover(&self) -> bool {
        self.peer_context_takeover
    }

    /// See [`with_own_max_window_bits`](Self::with_own_max_window_bits).
    #[must_use]
    pub const fn own_max_window_bits(&self) -> u8 {
        self.own_max_window_bits
    }

    /// See [`with_peer_max_window_bits`](Self::with_peer_max_window_bits).
    #[must_use]
    pub const fn peer_max_window_bits(&self) -> u8 {
        self.peer_max_window_bits
    }

    /// See [`with_own_max_window_bits_offered`](Self::with_own_max_window_bits_offered).
    #[must_use]
    pub const fn own_max_window_bits_offered(&self) -> bool {
        self.offer_own_max_window_bits
    }

    /// See [`with_peer_limits_required`](Self::with_peer_limits_required).
    #[must_use]
    pub const fn peer_limits_required(&self) -> bool {
        self.peer_limits_required
    }

    /// See [`with_level`](Self::with_level).
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// See [`with_memory_level`](Self::with_memory_level).
    #[must_use]
    pub const fn memory_level(&self) -> u8 {
        self.memory_level
    }

    /// See [`with_threshold`](Self::with_threshold), in bytes.
    #[must_use]
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    #[cfg(feature = "deflate")]
    /// What the own compressor is made with, for a connection whose own window has this many bits.
    pub(crate) const fn settings(&self, window_bits: u8) -> DeflaterSettings {
        DeflaterSettings {
            level: self.level,
            memory_level: self.memory_level,
            window_bits,
        }
    }
}

/// Why [`DeflateOptions`] cannot hold a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeflateOptionsError {
    /// A window that is not 9 to 15 bits.
    WindowBits(u8),
    /// A level that is not 1 to 9.
    Level(u8),
    /// A memory level that is not 1 to 9.
    MemoryLevel(u8),
}

impl fmt::Display for DeflateOptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WindowBits(bits) => write!(f, "a deflate window of {bits} bits is not 9 to 15"),
            Self::Level(level) => write!(f, "the compression level {level} is not 1 to 9"),
            Self::MemoryLevel(level) => write!(f, "the memory level {level} is not 1 to 9"),
        }
    }
}

impl core::error::Error for DeflateOptionsError {}
