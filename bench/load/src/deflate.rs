//! RFC 7692 without context takeover: each message is compressed, and inflated, for itself.

use anyhow::{Context as _, Result, bail, ensure};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::frames::{Batch, FIN, RSV1, first_frame};

/// What a compressed message ends with before it is sent and after it was received (§7.2.1, §7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The payload of a compressed message (§7.2.1), at zlib's default level.
pub(crate) fn compress(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 64);
    let mut compress = Compress::new(Compression::default(), false);
    // The room is enough for what cannot be compressed, so one call does it all; memory is the only other error.
    let status = compress.compress_vec(payload, &mut out, FlushCompress::Sync);
    debug_assert!(status.is_ok() && out.ends_with(&TAIL));
    out.truncate(out.len() - TAIL.len());
    out
}

/// Checks the answer to a batch as far as it has come; whether it is complete.
///
/// # Errors
///
/// When a message is not what was sent, or is followed by something that was not asked for.
pub(crate) fn check(batch: &Batch, answer: &[u8]) -> Result<bool> {
    let mut rest = answer;
    for payload in &batch.payloads {
        let Some((first, body, length)) = first_frame(rest) else {
            return Ok(false);
        };
        ensure!(first & !RSV1 == FIN | batch.opcode, "a frame begins with {first:#04x}");
        // A server may leave a message as it is.
        let same = if first & RSV1 == 0 {
            body == payload
        } else {
            inflate(body, payload.len())? == *payload
        };
        ensure!(same, "a message came back changed");
        rest = &rest[length..];
    }
    if !rest.is_empty() {
        bail!("{} bytes more than were asked for", rest.len());
    }
    Ok(true)
}

fn inflate(body: &[u8], expected: usize) -> Result<Vec<u8>> {
    let mut input = body.to_vec();
    input.extend(TAIL);
    let mut out = Vec::with_capacity(expected + 64);
    Decompress::new(false)
        .decompress_vec(&input, &mut out, FlushDecompress::Sync)
        .context("a message cannot be inflated")?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::payload::payload;

    #[test]
    fn what_is_compressed_is_inflated() {
        for kind in [Kind::Binary, Kind::Json] {
            let payload = payload(kind, 5000, 0);
            assert_eq!(inflate(&compress(&payload), payload.len()).expect("inflates"), payload);
        }
    }

    #[test]
    fn json_deflates_to_about_a_third() {
        let sum: usize = (0..16)
            .map(|number| compress(&payload(Kind::Json, 1024, number)).len())
            .sum();
        assert!((320..=360).contains(&(sum / 16)), "{}", sum / 16);
    }
}
