//! `FrameHeader::decode` on any bytes (RFC 6455 §5.2).
//!
//! Whatever it accepts must be what `encode` writes, byte for byte, since each header has one valid form; and a
//! header may be complete only at its last byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_proto::frame::FrameHeader;

fuzz_target!(|input: &[u8]| {
    let Ok(Some((header, length))) = FrameHeader::decode(input) else {
        return;
    };
    assert!(length <= FrameHeader::MAX_LENGTH);
    assert!(header.payload_length < 1 << 63);
    for end in 0..length {
        assert_eq!(FrameHeader::decode(&input[..end]), Ok(None));
    }
    let mut encoded = Vec::new();
    header.encode(&mut encoded);
    assert_eq!(encoded, &input[..length]);
});
