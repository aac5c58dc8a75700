//! Masking and UTF-8 validation, each against a `memcpy` of the same size.
//!
//! `cargo bench -p sockeye-proto --bench mask_utf8` takes under a minute. After criterion's figures it prints ratios:
//! on a busy machine only two measurements next to each other in time can be compared, so each round times a
//! `memcpy` right before each candidate. With `SOCKEYE_BENCH_CHECK` set, the program fails if a median is below
//! its bar.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::{
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use sockeye_proto::{mask, utf8::Validator};

/// Payload bytes, and the length of the header that a client writes before as many.
const SIZES: [(usize, usize); 3] = [(1024, 8), (64 * 1024, 14), (1024 * 1024, 14)];

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A receive buffer with one frame, or with several that take turns: the payload of each stands where a header that
/// begins a cache line leaves it. (Masking the same kilobyte over and over can measure how loads wait for the
/// stores just made, which no connection does.)
struct Buffer {
    bytes: Vec<u8>,
    first: usize,
    stride: usize,
    frames: usize,
    next: usize,
    len: usize,
}

impl Buffer {
    fn new(text: &str, (len, header): (usize, usize)) -> Self {
        let frames = (8 * 1024 / len).max(1);
        let stride = (header + len).next_multiple_of(64);
        let mut bytes = vec![0; 64 + frames * stride];
        let first = bytes.as_ptr().align_offset(64) + header;
        for frame in 0..frames {
            let payload = &mut bytes[first + frame * stride..][..len];
            for (byte, text) in payload.iter_mut().zip(text.bytes().cycle()) {
                *byte = text;
            }
        }
        Self {
            bytes,
            first,
            stride,
            frames,
            next: 0,
            len,
        }
    }

    /// The payload whose turn it is.
    fn payload(&mut self) -> &mut [u8] {
        let start = self.first + self.next * self.stride;
        self.next = (self.next + 1) % self.frames;
        &mut self.bytes[start..][..self.len]
    }
}

/// What is measured at one size. The texts' lengths divide 1024, so that no code point is cut.
struct Bench {
    ascii: Buffer,
    mixed: Buffer,
    target: Buffer,
    out: Vec<u8>,
}

type Routine = (&'static str, f64, fn(&mut Bench));

/// Each routine's name and the least ratio to the speed of a `memcpy` that it must reach.
const ROUTINES: [Routine; 4] = [
    ("mask", 0.8, Bench::mask),
    ("mask_copy", 0.0, Bench::mask_copy),
    ("utf8_ascii", 0.5, Bench::ascii),
    ("utf8_mixed", 0.0, Bench::mixed),
];

impl Bench {
    fn new(size: (usize, usize)) -> Self {
        Self {
            ascii: Buffer::new("Oncorhynchus nerka, red, upriver", size),
            // 2 × 2, 4 × 3 and 4 × 4 bytes.
            mixed: Buffer::new("öß→日本語🐟🌊🏞🎣", size),
            target: Buffer::new("\0", size),
            out: Vec::with_capacity(size.0 + 64),
        }
    }

    fn memcpy(&mut self) {
        black_box(self.target.payload()).copy_from_slice(black_box(self.ascii.payload()));
    }

    fn mask(&mut self) {
        mask::apply(black_box(self.target.payload()), black_box(KEY), 0);
    }

    fn mask_copy(&mut self) {
        self.out.clear();
        mask::copy(black_box(self.ascii.payload()), black_box(KEY), &mut self.out);
        black_box(&self.out);
    }

    fn ascii(&mut self) {
        validate(self.ascii.payload());
    }

    fn mixed(&mut self) {
        validate(self.mixed.payload());
    }
}

fn validate(text: &[u8]) {
    let mut validator = Validator::default();
    validator.push(black_box(text)).expect("the text is UTF-8");
    assert!(black_box(validator).is_complete());
}

fn against_memcpy(criterion: &mut Criterion) {
    for (name, routine) in [("memcpy", Bench::memcpy as fn(&mut Bench))]
        .into_iter()
        .chain(ROUTINES.map(|(n, _, f)| (n, f)))
    {
        let mut group = criterion.benchmark_group(name);
        for size in SIZES {
            let mut bench = Bench::new(size);
            group.throughput(Throughput::Bytes(size.0 as u64));
            group.bench_function(BenchmarkId::from_parameter(size.0), |bencher| {
                bencher.iter(|| routine(&mut bench));
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(30);
    targets = against_memcpy
}

/// Rounds of the ratios, at about 0.1 ms a measurement: a second or two in all.
const ROUNDS: usize = 501;

/// Prints the ratios, and says whether all reach their bars.
fn ratios() -> bool {
    let mut reached = true;
    println!("speed relative to memcpy, median of {ROUNDS} interleaved rounds (25th to 75th percentile)");
    for size in SIZES {
        let mut bench = Bench::new(size);
        let mut ratios = ROUTINES.map(|_| Vec::with_capacity(ROUNDS));
        for _ in 0..ROUNDS {
            for ((_, _, routine), ratios) in ROUTINES.iter().zip(&mut ratios) {
                let memcpy = time(&mut bench, Bench::memcpy);
                ratios.push(memcpy / time(&mut bench, *routine));
            }
        }
        for ((name, bar, _), ratios) in ROUTINES.iter().zip(&mut ratios) {
            ratios.sort_by(f64::total_cmp);
            let at = |percent: usize| ratios[(ROUNDS - 1) * percent / 100];
            let (low, median, high) = (at(25), at(50), at(75));
            let verdict = match median >= *bar {
                _ if *bar == 0.0 => String::new(),
                true => format!("  bar {bar}: reached"),
                false => format!("  bar {bar}: MISSED"),
            };
            reached &= median >= *bar;
            println!(
                "{:>8} B  {name:<11} {median:5.2} ({low:.2} to {high:.2}){verdict}",
                size.0
            );
        }
    }
    reached
}

/// Seconds that 4 MiB take: short enough that most measurements are over before another thread gets the core.
fn time(bench: &mut Bench, routine: fn(&mut Bench)) -> f64 {
    let start = Instant::now();
    for _ in 0..(4 << 20) / bench.ascii.len {
        routine(bench);
    }
    start.elapsed().as_secs_f64()
}

fn main() -> ExitCode {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo test --benches` runs each routine once and does not pass the flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let reached = ratios();
    if !reached && std::env::var_os("SOCKEYE_BENCH_CHECK").is_some() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
