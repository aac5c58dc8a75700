//! Frame headers: decoding and encoding each form of the length (RFC 6455 §5.2), with a masking key and without.
//!
//! `cargo bench -p sockeye-proto --bench header` takes a few seconds.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use sockeye_proto::frame::{FrameHeader, Opcode};

/// A payload length of each form.
const LENGTHS: [u64; 3] = [16, 1024, 1 << 20];

fn headers(criterion: &mut Criterion) {
    for masking_key in [None, Some([0x37, 0xfa, 0x21, 0x3d])] {
        let role = if masking_key.is_some() { "client" } else { "server" };
        for payload_length in LENGTHS {
            let header = FrameHeader {
                fin: true,
                rsv1: false,
                opcode: Opcode::Text,
                masking_key,
                payload_length,
            };
            let mut out = Vec::with_capacity(FrameHeader::MAX_LENGTH);
            criterion.bench_function(&format!("encode_{role}/{payload_length}"), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    black_box(&header).encode(&mut out);
                    black_box(&out);
                });
            });
            criterion.bench_function(&format!("decode_{role}/{payload_length}"), |bencher| {
                bencher.iter(|| black_box(FrameHeader::decode(black_box(&out))));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(20);
    targets = headers
}
criterion_main!(benches);
