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

/// A buffer whose payload stands where a header would leave it: the header begins a cache line.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    fn new(text: &str, (len, header): (usize, usize)) -> Self {
        let mut bytes = vec![0; len + header + 64];
        let start = bytes.as_ptr().align_offset(64) + header;
        for (byte, text) in bytes[start..]
            .iter_mut()
            .zip(text.bytes().cycle().take(len))
        {
            *byte = text;
        }
        Self { bytes, start, len }
    }

    fn payload(&self) -> &[u8] {
        &self.bytes[self.start..][..self.len]
    }

    fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.len]
    }
}

/// What is measured at one size. The texts have lengths that divide 1024, so that no code point is cut.
struct Bench {
    source: Buffer,
    target: Buffer,
    mixed: Buffer,
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
            source: Buffer::new("Oncorhynchus nerka, red, upriver", size),
            target: Buffer::new("\0", size),
            // 2 × 2, 4 × 3 and 4 × 4 bytes.
            mixed: Buffer::new("öß→日本語🐟🌊🏞🎣", size),
            out: Vec::with_capacity(size.0 + 64),
        }
    }

    fn memcpy(&mut self) {
        black_box(self.target.payload_mut()).copy_from_slice(black_box(self.source.payload()));
    }

    fn mask(&mut self) {
        mask::apply(black_box(self.target.payload_mut()), black_box(KEY), 0);
    }

    fn mask_copy(&mut self) {
        self.out.clear();
        mask::copy(
            black_box(self.source.payload()),
            black_box(KEY),
            &mut self.out,
        );
        black_box(&self.out);
    }

    fn ascii(&mut self) {
        validate(self.source.payload());
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

/// Rounds of the ratios. With their 5 ms a measurement they take 5 s.
const ROUNDS: usize = 41;

/// Prints the ratios, and says whether all reach their bars.
fn ratios() -> bool {
    let mut reached = true;
    println!(
        "speed relative to memcpy, median of {ROUNDS} interleaved rounds (10th to 90th percentile)"
    );
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
            let (low, median, high) = (at(10), at(50), at(90));
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

/// Nanoseconds that one call takes, measured over about 64 MiB or 5 ms, whichever comes first.
fn time(bench: &mut Bench, routine: fn(&mut Bench)) -> f64 {
    let calls = (4 << 20) / bench.source.len;
    let (start, mut made) = (Instant::now(), 0);
    loop {
        for _ in 0..calls {
            routine(bench);
        }
        made += calls;
        let elapsed = start.elapsed();
        if elapsed >= Duration::from_millis(5) || made >= 16 * calls {
            return elapsed.as_nanos() as f64 / made as f64;
        }
    }
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
