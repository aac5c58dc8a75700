//! The steps of `cargo xtask test`: their order, their time, their sum.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::context::Context;
use crate::tally::Tally;
use crate::{autobahn, checks, deny, features, fuzz, interop, no_std, page, unsafe_scan};

/// One step, by the name that `--only` takes.
struct Step {
    name: &'static str,
    /// Whether `--quick` runs it.
    quick: bool,
    run: fn(&Context) -> Result<Tally>,
}

/// Cheap ones first: what is wrong most often is heard of soonest.
const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        quick: true,
        run: checks::format,
    },
    Step {
        name: "unsafe",
        quick: true,
        run: unsafe_scan::run,
    },
    Step {
        name: "clippy",
        quick: true,
        run: checks::clippy,
    },
    Step {
        name: "test",
        quick: true,
        run: checks::tests,
    },
    Step {
        name: "doctest",
        quick: true,
        run: checks::doc_tests,
    },
    Step {
        name: "msrv",
        quick: false,
        run: checks::msrv,
    },
    Step {
        name: "doc",
        quick: false,
        run: checks::docs,
    },
    Step {
        name: "features",
        quick: false,
        run: features::run,
    },
    Step {
        name: "no-std",
        quick: false,
        run: no_std::run,
    },
    Step {
        name: "deny",
        quick: false,
        run: deny::run,
    },
    Step {
        name: "page",
        quick: false,
        run: |context| page::run(context, &page::Options::default()),
    },
    Step {
        name: "autobahn",
        quick: false,
        run: |context| autobahn::run(context, &autobahn::Options::default()),
    },
    Step {
        name: "interop",
        quick: false,
        run: |context| interop::run(context, &interop::Options::default()),
    },
    Step {
        name: "fuzz",
        quick: false,
        run: |context| fuzz::run(context, &fuzz::Options::default()),
    },
];

/// What `--only` accepts.
pub(crate) fn names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Runs the chosen steps, all of them whatever fails, and prints a table of them.
pub(crate) fn run(context: &Context, quick: bool, only: &[String]) -> Tally {
    let started = Instant::now();
    let mut results: Vec<(&str, Duration, Tally)> = Vec::new();
    for step in STEPS {
        let chosen = only.is_empty() || only.iter().any(|name| name == step.name);
        if !chosen || (quick && !step.quick) {
            continue;
        }
        println!("\n==== {} ====", step.name);
        let begun = Instant::now();
        let tally = (step.run)(context).unwrap_or_else(|error| {
            println!("FAILED: {error:#}");
            Tally::one(false)
        });
        println!("---- {}: {tally} in {:.1} s", step.name, begun.elapsed().as_secs_f64());
        results.push((step.name, begun.elapsed(), tally));
    }

    println!("\n==== all ====");
    let mut sum = Tally::default();
    for (name, time, tally) in results {
        let verdict = match (tally.is_clean(), tally.skipped.is_empty()) {
            (false, _) => "FAILED",
            (true, false) => "skipped, in part or whole",
            (true, true) => "ok",
        };
        println!(
            "{name:<9} {:>7.1} s  {:>5} passed  {:>3} failed  {verdict}",
            time.as_secs_f64(),
            tally.passed,
            tally.failed
        );
        sum += tally;
    }
    println!("{:<9} {:>7.1} s", "total", started.elapsed().as_secs_f64());
    for what in &sum.skipped {
        println!("SKIPPED: {what}");
    }
    sum
}
