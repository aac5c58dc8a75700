//! permessage-deflate of whole messages without context takeover: time and size by level, beside zlib-rs.
//!
//! `cargo bench -p sockeye-proto --bench deflate` takes under a minute. Criterion measures what a connection does for a
//! message of 1 KiB; the table after it has all levels on several kinds of data, as the best of some short rounds,
//! which is what a busy machine disturbs least.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group};
use sockeye_proto::connection::{Compress, Config, Connection, Event, Role};
use sockeye_proto::deflate::{DeflateDirection, DeflateOptions, DeflateParams};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush};

/// An end of a connection without context takeover; all levels are from 1 to 9.
fn connection(role: Role, level: u8) -> Connection {
    let mut config = Config::new(|bytes| bytes.fill(0));
    config.deflate = DeflateOptions::server().with_level(level).expect("a level");
    let direction = DeflateDirection {
        context_takeover: false,
        max_window_bits: 15,
    };
    Connection::new(role, Arc::new(config)).with_deflate(DeflateParams::new(direction, direction))
}

/// An array of events of a market: names that repeat and numbers that do not.
fn json(size: usize, seed: u64) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15 ^ (seed + 1).wrapping_mul(0xd134_2543_de82_ef95);
    // Marsaglia's xorshift64*.
    let mut below = |end: u64| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % end
    };
    let mut text = String::from("[");
    while text.len() < size {
        let kind = ["trade", "quote", "cancel", "amend"][below(4) as usize];
        let symbol = ["NOK", "SEK", "DKK", "ISK", "EUR", "USD"][below(6) as usize];
        let (id, price, cents) = (1_000_000_000 + below(1_000_000_000), below(1000), below(100));
        let (amount, last) = (below(1_000_000), below(2) == 0);
        text += &format!(
            r#"{{"type":"{kind}","symbol":"{symbol}","id":{id},"price":{price}.{cents:02},"size":{amount},"final":{last}}},"#
        );
    }
    text.truncate(size - 1);
    text.push(']');
    text.into_bytes()
}

/// Kinds of data, each some messages of one length.
fn data() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let sources = [
        include_str!("../src/frame.rs"),
        include_str!("../src/uri.rs"),
        include_str!("../src/connection/mod.rs"),
    ];
    // What their comments say.
    let lines = sources.iter().flat_map(|source| source.lines());
    let prose = lines.filter_map(|line| Some(line.trim_start().strip_prefix("//")?.to_owned() + "\n"));
    let prose = prose.collect::<String>().into_bytes();
    vec![
        ("JSON, 1 KiB", (0..100).map(|seed| json(1024, seed)).collect()),
        ("JSON, 16 KiB", (0..8).map(|seed| json(16 * 1024, seed)).collect()),
        ("JSON, 256 KiB", vec![json(256 * 1024, 0)]),
        ("prose, 1 KiB", prose.chunks_exact(1024).map(<[u8]>::to_vec).collect()),
        ("Rust, 38 KiB", vec![sources.concat().into_bytes()]),
    ]
}

fn a_kibibyte(criterion: &mut Criterion) {
    let messages: Vec<String> = (0..100)
        .map(|seed| String::from_utf8(json(1024, seed)).expect("ASCII"))
        .collect();
    let mut group = criterion.benchmark_group("json_1024");
    group.throughput(Throughput::Bytes(1024));
    let (mut server, mut client) = (connection(Role::Server, 2), connection(Role::Client, 2));
    let mut out = Vec::with_capacity(1024);
    let mut turns = messages.iter().cycle();
    group.bench_function("send", |bencher| {
        bencher.iter(|| {
            out.clear();
            let message = turns.next().expect("an endless turn").as_str();
            server.send(black_box(message), &mut out).expect("it is open");
            black_box(&out);
        });
    });
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for message in &messages {
        let mut frame = Vec::new();
        server.send(message.as_str(), &mut frame).expect("it is open");
        frames.push(frame);
    }
    let mut turn = 0;
    group.bench_function("receive", |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % frames.len();
            let received = client.receive(black_box(&mut frames[turn]), &mut out).expect("valid");
            assert!(matches!(black_box(received.event), Some(Event::Text(_))));
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(30);
    targets = a_kibibyte
}

/// Microseconds for a message, and what `work` answers for one, on average.
fn measure(messages: &[Vec<u8>], mut work: impl FnMut(&[u8]) -> usize) -> (f64, usize) {
    let total: usize = messages.iter().map(Vec::len).sum();
    let (mut best, mut size) = (f64::MAX, 0);
    for _ in 0..5 {
        let start = Instant::now();
        let passes = (1_usize << 19).div_ceil(total);
        for _ in 0..passes {
            size = messages.iter().map(|message| work(black_box(message))).sum();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / (passes * messages.len()) as f64);
    }
    (best, size / messages.len())
}

fn row(name: &str, (time, size): (f64, usize)) {
    println!("{name:<44} {time:>9.2} µs {size:>7} B");
}

fn zlib(level: i32, mem_level: i32, window_bits: i32) -> impl FnMut(&[u8]) -> usize {
    let mut stream = Deflate::new_with_config(DeflateConfig {
        level,
        mem_level,
        window_bits: -window_bits,
        ..DeflateConfig::default()
    });
    let mut out = vec![0; 512 * 1024];
    move |message| {
        stream.reset();
        let status = stream.compress(message, &mut out, DeflateFlush::SyncFlush);
        assert!(status.is_ok());
        // Without the four bytes that are not sent.
        stream.total_out() as usize - 4
    }
}

fn table(name: &str, messages: &[Vec<u8>]) {
    let mut out = Vec::new();
    for level in 1..=9 {
        let mut server = connection(Role::Server, level);
        let sent = |message: &[u8]| {
            out.clear();
            server
                .send_with(message, Compress::Always, &mut out)
                .expect("it is open");
            out.len()
        };
        row(&format!("{name}: send, level {level}"), measure(messages, sent));
    }
    for level in 1..=9 {
        row(
            &format!("{name}: zlib-rs, level {level}"),
            measure(messages, zlib(level, 8, 15)),
        );
    }
    for (memory, window) in [(1, 9), (1, 15), (4, 12), (9, 15)] {
        let name = format!("{name}: zlib-rs, level 6, memory {memory}, {window} bits");
        row(&name, measure(messages, zlib(6, memory, window)));
    }
    let mut server = connection(Role::Server, 6);
    let frames: Vec<Vec<u8>> = messages
        .iter()
        .map(|message| {
            let mut frame = Vec::new();
            server
                .send_with(&message[..], Compress::Always, &mut frame)
                .expect("it is open");
            frame
        })
        .collect();
    let mut client = connection(Role::Client, 6);
    let (mut input, mut out) = (Vec::new(), Vec::new());
    let receive = |frame: &[u8]| {
        input.clear();
        input.extend_from_slice(frame);
        match client.receive(&mut input, &mut out).expect("valid").event {
            Some(Event::Binary(message)) => message.len(),
            other => panic!("{other:?}"),
        }
    };
    row(&format!("{name}: receive"), measure(&frames, receive));
    let payload = |frame: &Vec<u8>| {
        let header = if frame.len() < 0x1_0000 { 4 } else { 10 };
        [&frame[header..], &[0x00, 0x00, 0xFF, 0xFF]].concat()
    };
    let payloads: Vec<Vec<u8>> = frames.iter().map(payload).collect();
    let (mut inflate, mut room) = (Inflate::new(false, 15), vec![0; 512 * 1024]);
    let one_call = |payload: &[u8]| {
        inflate.reset(false);
        let status = inflate.decompress(payload, &mut room, InflateFlush::SyncFlush);
        assert!(status.is_ok());
        inflate.total_out() as usize
    };
    row(
        &format!("{name}: zlib-rs inflate, one call"),
        measure(&payloads, one_call),
    );
}

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo test --benches` runs each routine once and does not pass the flag.
    if std::env::args().any(|argument| argument == "--bench") {
        for (name, messages) in data() {
            table(name, &messages);
        }
    }
}
