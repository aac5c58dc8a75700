//! Compressing and inflating the payload of messages (RFC 7692 §7.2), a piece at a time: for context takeover and for
//! fragments. Whole messages without context takeover are compressed in [`encode`](super::encode), and the short ones
//! inflated in [`decode`](super::decode).
//!
//! Both codecs write into a scratch area of their own that is initialised once, so that no output buffer has to be
//! filled with zeros first; the caller copies what it wants to keep. Neither knows frames, limits or UTF-8.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

use crate::deflate::DeflaterSettings;
use crate::deflate::decode::Decoder;
use crate::error::ProtocolError;

/// Inflates the messages of one direction. Owns 55 KiB whatever the window: zlib's window and tables, and the scratch
/// area; without context takeover 7 KiB more, for the tables of a [`Decoder`].
pub(crate) struct Inflater {
    stream: Inflate,
    scratch: Box<[u8; SCRATCH]>,
    /// For messages that are there as a whole.
    decoder: Option<Box<Decoder>>,
    /// Whether the message under way has had any payload.
    begun: bool,
    /// Whether the stream has seen anything since it was new.
    used: bool,
    /// The last step filled the scratch area: the stream may hold more output, even if it has taken all input.
    full: bool,
    /// The stream is corrupt, and the output before that has been handed over.
    broken: bool,
}

/// What one step of an [`Inflater`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Inflated {
    /// Bytes read from the input.
    pub(crate) read: usize,
    /// Bytes that stand in [`Inflater::output`].
    pub(crate) written: usize,
    /// Whether there is more to be told without more input: output that did not fit, or an error.
    pub(crate) more: bool,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self {
            // A window of 15 bits inflates what was compressed with any smaller one.
            stream: Inflate::new(false, 15),
            scratch: Box::new([0; SCRATCH]),
            decoder: None,
            begun: false,
            used: false,
            full: false,
            broken: false,
        }
    }

    /// Inflates the payload of a whole message that refers to no other, if it is short and nothing is wrong with it.
    /// Otherwise nothing has happened, and the message is to be inflated in pieces.
    pub(crate) fn inflate_whole(&mut self, payload: &[u8]) -> Option<Inflated> {
        if self.begun || payload.len() > SHORT {
            return None;
        }
        let decoder = self.decoder.get_or_insert_with(|| Box::new(Decoder::new()));
        let written = decoder.inflate(payload, &mut self.scratch[..])?;
        Some(Inflated {
            read: payload.len(),
            written,
            more: false,
        })
    }

    /// Inflates from `input` until that is used up or the scratch area is full.
    ///
    /// What was inflated before an error is handed over first, so that how the input was cut shows nowhere.
    pub(crate) fn inflate(&mut self, input: &[u8]) -> Result<Inflated, ProtocolError> {
        self.begun |= !input.is_empty();
        self.used |= self.begun;
        self.advance(input)
    }

    fn advance(&mut self, input: &[u8]) -> Result<Inflated, ProtocolError> {
        let mut done = Inflated::default();
        while (done.read < input.len() || self.full) && !done.more {
            if self.broken {
                return Err(ProtocolError::InvalidDeflate);
            }
            let before = (self.stream.total_in(), self.stream.total_out());
            let (rest, free) = (&input[done.read..], &mut self.scratch[done.written..]);
            let status = self.stream.decompress(rest, free, InflateFlush::SyncFlush);
            let read = (self.stream.total_in() - before.0) as usize;
            let written = (self.stream.total_out() - before.1) as usize;
            done.written += written;
            match status {
                // RFC 7692 §7.2.3.4: a block may have BFINAL set; what follows it is a new stream. A compressor that
                // ends its stream starts the next one with an empty window, and so do we, also with context takeover.
                Ok(Status::StreamEnd) => self.stream.reset(false),
                Ok(Status::Ok | Status::BufError) if read + written > 0 || rest.is_empty() => {}
                // There is input and room for output: a stream that takes neither is stuck.
                Ok(_) | Err(_) => {
                    self.broken = true;
                    done.more = true;
                    if done.written == 0 {
                        return Err(ProtocolError::InvalidDeflate);
                    }
                    return Ok(done);
                }
            }
            done.read += read;
            self.full = done.written == SCRATCH;
            done.more = self.full;
        }
        Ok(done)
    }

    /// Ends the message. Call it until there is no `more`; the next message may begin then.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::InvalidDeflate`] if the message does not end where a flush ends one: it was cut short.
    pub(crate) fn finish(&mut self) -> Result<Inflated, ProtocolError> {
        // RFC 7692 §7.2.3.6: even the empty message has a byte of payload.
        if !self.begun {
            return Err(ProtocolError::InvalidDeflate);
        }
        if self.full {
            let rest = self.advance(&[])?;
            if rest.written > 0 {
                return Ok(Inflated { more: true, ..rest });
            }
        }
        // A message that ended with a final block is complete; a stream that has just begun takes no tail.
        if self.stream.total_in() > 0 {
            // RFC 7692 §7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload of the message."
            // They are the rest of an empty block, behind which the stream stops if it is asked to stop between blocks. If
            // the message was cut short, they and the byte behind them are taken for something else.
            let before = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(&TAIL_AND_ONE, &mut self.scratch[..], InflateFlush::Block);
            let read = self.stream.total_in() - before.0;
            if status.is_err() || read != TAIL.len() as u64 || self.stream.total_out() != before.1 {
                return Err(ProtocolError::InvalidDeflate);
            }
        }
        self.begun = false;
        Ok(Inflated::default())
    }

    /// The first `written` bytes of what the last step inflated.
    pub(crate) fn output(&self, written: usize) -> &[u8] {
        &self.scratch[..written]
    }

    #[cfg(any(feature = "std", test))]
    /// Forgets all that came before: the next message refers to none of it.
    pub(crate) fn reset(&mut self) {
        if !self.used {
            return;
        }
        self.stream.reset(false);
        self.used = false;
        self.begun = false;
        self.full = false;
        self.broken = false;
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

/// Compresses the messages of one direction. Owns zlib's window, tables and buffers (sizes are in the documentation of
/// [`DeflateOptions`](crate::deflate::DeflateOptions)), the scratch area, and its output.
pub(crate) struct Deflater {
    stream: Deflate,
    settings: DeflaterSettings,
    scratch: Box<[u8; SCRATCH]>,
    output: Vec<u8>,
}

impl Deflater {
    pub(crate) fn new(settings: DeflaterSettings) -> Self {
        Self {
            stream: Deflate::new_with_config(DeflateConfig {
                level: i32::from(settings.level.clamp(1, 9)),
                mem_level: i32::from(settings.memory_level.clamp(1, 9)),
                // Negative: raw deflate, without zlib's header.
                window_bits: -i32::from(settings.window_bits.clamp(9, 15)),
                ..DeflateConfig::default()
            }),
            settings,
            scratch: Box::new([0; SCRATCH]),
            output: Vec::new(),
        }
    }

    #[cfg(feature = "std")]
    pub(crate) fn settings(&self) -> DeflaterSettings {
        self.settings
    }

    /// Compresses one fragment, the `last` of its message or not; the answer is the frame's payload.
    pub(crate) fn compress(&mut self, payload: &[u8], last: bool) -> &[u8] {
        self.output.clear();
        let mut read = 0;
        loop {
            let before = (self.stream.total_in(), self.stream.total_out());
            // Errors of `compress` are wrong settings or a stream in another use: excluded by `new`.
            let status = self
                .stream
                .compress(&payload[read..], &mut self.scratch[..], DeflateFlush::SyncFlush);
            read += (self.stream.total_in() - before.0) as usize;
            let written = (self.stream.total_out() - before.1) as usize;
            self.output.extend_from_slice(&self.scratch[..written]);
            debug_assert!(status.is_ok());
            if written < SCRATCH {
                break;
            }
        }
        debug_assert_eq!(read, payload.len());
        if !last {
            return &self.output;
        }
        // RFC 7692 §7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end." A flush with nothing to
        // flush writes nothing.
        if let Some(body) = self.output.strip_suffix(&TAIL) {
            let length = body.len();
            self.output.truncate(length);
        }
        // RFC 7692 §7.2.3.6: an empty message is one byte, 0x00.
        if self.output.is_empty() {
            self.output.push(0);
        }
        &self.output
    }

    #[cfg(feature = "std")]
    /// Forgets all that came before: the next message refers to none of it.
    pub(crate) fn reset(&mut self) {
        self.stream.reset();
    }

    /// Gives back what a large message made the output grow to.
    pub(crate) fn shrink(&mut self) {
        if self.output.capacity() > RETAINED_OUTPUT {
            self.output = Vec::new();
        }
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// RFC 7692 §7.2.1: what a flushed message ends with, and is sent without.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// The most that one step inflates or compresses, in bytes.
const SCRATCH: usize = 8 * 1024;

/// The same with a byte that must be left over.
const TAIL_AND_ONE: [u8; 5] = [0x00, 0x00, 0xFF, 0xFF, 0x00];

/// The longest payload that is inflated as a whole, in bytes. What zlib-rs takes to begin and to end is less than what its
/// wider copies gain with longer ones.
const SHORT: usize = 2 * 1024;

/// Output capacity that a codec keeps between messages, in bytes.
const RETAINED_OUTPUT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const SETTINGS: DeflaterSettings = DeflaterSettings {
        level: 6,
        memory_level: 8,
        window_bits: 15,
    };

    fn inflate(inflater: &mut Inflater, payload: &[u8]) -> Result<Vec<u8>, ProtocolError> {
        let (mut out, mut read) = (vec![], 0);
        loop {
            let done = inflater.inflate(&payload[read..])?;
            read += done.read;
            out.extend_from_slice(inflater.output(done.written));
            if read == payload.len() && !done.more {
                break;
            }
        }
        loop {
            let done = inflater.finish()?;
            out.extend_from_slice(inflater.output(done.written));
            if !done.more {
                return Ok(out);
            }
        }
    }

    #[test]
    fn rfc7692_section_7_2_3_examples_inflate_to_hello() {
        let mut inflater = Inflater::new();
        // §7.2.3.1: one fixed block.
        let one = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(&mut inflater, &one).unwrap(), b"Hello");
        // §7.2.3.2: the second message refers to the window of the first.
        assert_eq!(
            inflate(&mut inflater, &[0xf2, 0x00, 0x11, 0x00, 0x00]).unwrap(),
            b"Hello"
        );
        // §7.2.3.3: a stored block.
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        assert_eq!(inflate(&mut inflater, &stored).unwrap(), b"Hello");
        // §7.2.3.4 (threat D2): BFINAL is set; the next message decodes.
        let bfinal = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        assert_eq!(inflate(&mut inflater, &bfinal).unwrap(), b"Hello");
        assert_eq!(inflate(&mut inflater, &one).unwrap(), b"Hello");
        // §7.2.3.5: two blocks in one message.
        let two = [
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ];
        assert_eq!(inflate(&mut inflater, &two).unwrap(), b"Hello");
    }

    #[test]
    fn rfc7692_section_7_2_3_6_an_empty_message_is_one_byte() {
        let mut deflater = Deflater::new(SETTINGS);
        let mut inflater = Inflater::new();
        for text in [&b""[..], b"Hello", b"", b""] {
            let payload = deflater.compress(text, true).to_vec();
            if text.is_empty() {
                assert_eq!(payload, [0]);
            }
            assert_eq!(inflate(&mut inflater, &payload).unwrap(), text);
        }
    }

    #[test]
    fn sizes_around_the_scratch_area_come_back() {
        let mut deflater = Deflater::new(SETTINGS);
        let mut inflater = Inflater::new();
        let mut state = 1_u32;
        for size in [SCRATCH - 1, SCRATCH, SCRATCH + 1, 2 * SCRATCH, 5 * SCRATCH] {
            let noise: Vec<u8> = core::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .take(size)
            .collect();
            for text in [noise, vec![b'x'; size]] {
                let payload = deflater.compress(&text, true).to_vec();
                assert_eq!(inflate(&mut inflater, &payload).unwrap(), text);
            }
        }
    }

    #[test]
    fn d3_a_corrupt_stream_is_an_error() {
        let mut inflater = Inflater::new();
        assert_eq!(inflate(&mut inflater, &[0xFF; 8]), Err(ProtocolError::InvalidDeflate));
        inflater.reset();
        let one = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(&mut inflater, &one).unwrap(), b"Hello");
    }
}
