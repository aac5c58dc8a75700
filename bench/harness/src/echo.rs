//! Messages there and back, or from one to many: rounds over all servers, with the references in between.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::json;

use crate::cells::{self, BARRED, Bar, Cell};
use crate::environment::Environment;
use crate::process::{Asked, Loading, Measured, Running};
use crate::servers::{Server, references};
use crate::stats::Summary;
use crate::{Args, Task, plot, report};

/// Servers between two turns of the references. The cost of a message drifts by a third within tens of seconds on
/// virtual machines, so the references have to be measured again before it has.
const BETWEEN: usize = 2;

/// One turn of one process of a server; written out, the medians of all its turns.
#[derive(Debug, Serialize)]
pub(crate) struct Turn {
    /// Which round, and so which process.
    round: usize,
    measured: Measured,
    /// Server CPU per message of the first reference just before and after (their mean), divided by this turn's.
    to_first: Option<f64>,
    /// The same of raw TCP.
    to_raw: Option<f64>,
    /// The same of the server that the cell's bar is about.
    to_bar: Option<f64>,
    /// Messages a second, divided by those of the first reference just before and after.
    speed: Option<f64>,
}

/// All turns of one server in one cell, and their middle.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) server: String,
    pub(crate) label: String,
    pub(crate) version: String,
    pub(crate) rate: Option<Summary>,
    pub(crate) server_ns: Option<Summary>,
    pub(crate) to_first: Option<Summary>,
    pub(crate) to_raw: Option<Summary>,
    pub(crate) to_bar: Option<Summary>,
    pub(crate) speed: Option<Summary>,
    pub(crate) p50_us: Option<Summary>,
    pub(crate) p99_us: Option<Summary>,
    pub(crate) p999_us: Option<Summary>,
    pub(crate) busy: Option<Summary>,
    /// Bytes of one answer on the wire.
    pub(crate) wire_bytes: Option<Summary>,
    /// Why there are no figures.
    pub(crate) failure: Option<String>,
    #[serde(skip)]
    turns: Vec<Turn>,
    /// The medians of each process.
    runs: Vec<Turn>,
}

/// What a cell came to.
#[derive(Debug, Serialize)]
pub(crate) struct CellResult {
    pub(crate) cell: &'static str,
    pub(crate) label: &'static str,
    #[serde(skip)]
    pub(crate) task: Task,
    /// What the engine has to reach.
    pub(crate) bar: Option<Bar>,
    pub(crate) rows: Vec<Row>,
}

/// Measures every cell of `task`; false when a server failed in one.
pub(crate) fn run(
    args: &Args,
    environment: &Environment,
    task: Task,
    chosen: &[&Server],
    output: &Path,
) -> Result<bool> {
    let able: Vec<&Server> = chosen.iter().copied().filter(|server| server.serves(task)).collect();
    let mut results = Vec::new();
    for cell in cells::of(task, &args.cells) {
        println!("\n==== {}: {} ====", cell.name, cell.label);
        let result = measure(args, environment, cell, &able)?;
        print!("{}", report::table(&result));
        std::fs::write(output.join(format!("{}.svg", cell.name)), plot::cell(&result))?;
        results.push(result);
        // After each cell, so that an interruption loses one cell and not an hour.
        let name = format!("{task:?}").to_lowercase();
        let settings =
            json!({ "repeats": args.repeats(), "turns": args.turns(), "seconds": args.seconds(), "quick": args.quick });
        let record = json!({ "environment": environment.describe(), "settings": settings, "cells": &results });
        report::write_json(&output.join(format!("{name}.json")), &record)?;
        std::fs::write(
            output.join(format!("{name}.md")),
            report::echo_page(&name, &record, &results),
        )?;
    }
    Ok(results
        .iter()
        .flat_map(|result| &result.rows)
        .all(|row| row.failure.is_none()))
}

fn measure(args: &Args, environment: &Environment, cell: &'static Cell, able: &[&Server]) -> Result<CellResult> {
    let mut rows: Vec<Row> = able.iter().map(|server| Row::new(server)).collect();
    for round in 0..args.repeats() {
        measure_round(args, environment, cell, able, &mut rows, round);
    }
    if cell.task != Task::Shards {
        warn_of_others(rows.iter().flat_map(|row| &row.turns));
    }
    rows.iter_mut().for_each(Row::sum_up);
    Ok(CellResult {
        cell: cell.name,
        label: cell.label,
        task: cell.task,
        bar: cell.bar(),
        rows,
    })
}

/// New processes of all servers, which take turns.
fn measure_round(
    args: &Args,
    environment: &Environment,
    cell: &'static Cell,
    able: &[&Server],
    rows: &mut [Row],
    round: usize,
) {
    let failed = |row: &mut Row, error: anyhow::Error| {
        println!("FAILED: {} in {}: {error:#}", row.server, cell.name);
        row.failure = Some(format!("{error:#}"));
    };
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    for (server, row) in able.iter().zip(&mut *rows) {
        let pair = match row.failure {
            None => Pair::start(args, environment, cell, server).map_err(|error| failed(row, error)),
            Some(_) => Err(()),
        };
        pairs.push(pair.ok());
    }
    for _ in 0..args.turns() {
        // Which server and what it took, in order of time.
        let mut done: Vec<(usize, Measured)> = Vec::new();
        for index in order(able, &references(cell.task)) {
            let Some(pair) = &mut pairs[index] else { continue };
            match pair.turn(args) {
                Ok(measured) => done.push((index, measured)),
                Err(error) => {
                    failed(&mut rows[index], error);
                    pairs[index] = None;
                }
            }
        }
        let ratios = ratios(cell, able, &done);
        for ((index, measured), [to_first, to_raw, to_bar, speed]) in done.into_iter().zip(ratios) {
            rows[index].turns.push(Turn {
                round,
                measured,
                to_first,
                to_raw,
                to_bar,
                speed,
            });
        }
    }
}

/// What each turn is compared with.
fn ratios(cell: &Cell, able: &[&Server], done: &[(usize, Measured)]) -> Vec<[Option<f64>; 4]> {
    let figures = |figure: fn(&Measured) -> f64| -> Vec<(&str, f64)> {
        let named = done
            .iter()
            .map(|(index, measured)| (able[*index].name.as_str(), figure(measured)));
        named.collect()
    };
    let (costs, times) = (figures(|m| m.server_ns_per_message), figures(|m| 1.0 / m.rate));
    let [first, raw] = references(cell.task);
    let of_bar = |at: usize| {
        let bar = cell.bar().filter(|_| costs[at].0 == BARRED)?;
        ratio(&costs, at, bar.reference)
    };
    (0..done.len())
        .map(|at| {
            [
                ratio(&costs, at, first),
                ratio(&costs, at, raw),
                of_bar(at),
                ratio(&times, at, first),
            ]
        })
        .collect()
}

/// The load spins, so what it did not get of its core went to other programs, and so did as much of the server's.
fn warn_of_others<'a>(turns: impl Iterator<Item = &'a Turn>) {
    const ALONE: f64 = 0.9;
    let shares: Vec<f64> = turns.map(|turn| turn.measured.client_busy).collect();
    let disturbed = shares.iter().filter(|share| **share < ALONE).count();
    if disturbed > 0 {
        println!(
            "WARNING: in {disturbed} of {} turns other programs had a part of the cores",
            shares.len()
        );
    }
}

/// The order of one round: the references, two servers, the references, …, the references.
fn order(able: &[&Server], references: &[&str]) -> Vec<usize> {
    let is_reference = |index: &usize| references.contains(&able[*index].name.as_str());
    let (references, others): (Vec<usize>, Vec<usize>) = (0..able.len()).partition(is_reference);
    let mut order = references.clone();
    for group in others.chunks(BETWEEN) {
        order.extend(group);
        order.extend(&references);
    }
    order
}

/// The cost of `reference` around the run at `at`, divided by that run's cost.
fn ratio(costs: &[(&str, f64)], at: usize, reference: &str) -> Option<f64> {
    let (name, cost) = costs[at];
    if name == reference {
        return Some(1.0);
    }
    let is_reference = |(name, _): &&(&str, f64)| *name == reference;
    let before = costs[..at].iter().rev().find(is_reference);
    let after = costs[at + 1..].iter().find(is_reference);
    let around: Vec<f64> = before.into_iter().chain(after).map(|(_, cost)| *cost).collect();
    let sum: f64 = around.iter().sum();
    (!around.is_empty()).then(|| sum / around.len() as f64 / cost)
}

/// A server and its load, both asleep but for their turns.
struct Pair {
    // Dropped first: a load whose server is gone would complain.
    loading: Loading,
    _running: Running,
}

impl Pair {
    fn start(args: &Args, environment: &Environment, cell: &Cell, server: &Server) -> Result<Self> {
        let asked = Asked {
            deflate: cell.task == Task::Deflate,
            tls: cell.task == Task::Tls,
            broadcast: cell.is_broadcast(),
            shared: cell.task == Task::Shards,
        };
        let running = Running::start(environment, server, asked)?;
        let mut arguments: Vec<String> = vec![
            format!("--connections={}", cell.connections),
            format!("--depth={}", cell.depth),
            format!("--payload={}", cell.payload),
            format!("--size={}", cell.size),
            format!("--warm-up={}", args.warm_up(server)),
        ];
        if server.is_raw() {
            arguments.push("--raw".into());
        }
        Ok(Self {
            loading: Loading::start(environment, &running, asked, &arguments)?,
            _running: running,
        })
    }

    fn turn(&mut self, args: &Args) -> Result<Measured> {
        let measured = self.loading.turn(args.seconds())?;
        if !measured.server_ns_per_message.is_normal() {
            bail!("the server took no CPU time");
        }
        Ok(measured)
    }
}

impl Row {
    fn new(server: &Server) -> Self {
        Self {
            server: server.name.clone(),
            label: server.label.clone(),
            version: server.version(),
            rate: None,
            server_ns: None,
            to_first: None,
            to_raw: None,
            to_bar: None,
            speed: None,
            p50_us: None,
            p99_us: None,
            p999_us: None,
            busy: None,
            wire_bytes: None,
            failure: None,
            turns: Vec::new(),
            runs: Vec::new(),
        }
    }

    fn sum_up(&mut self) {
        let of = |figure: fn(&Measured) -> f64| Summary::of(self.turns.iter().map(|turn| figure(&turn.measured)));
        let (rate, server_ns, busy) = (of(|m| m.rate), of(|m| m.server_ns_per_message), of(|m| m.server_busy));
        let latencies = (
            of(|m| m.latency_us.p50),
            of(|m| m.latency_us.p99),
            of(|m| m.latency_us.p999),
        );
        let wire_bytes = of(|m| m.wire_bytes_received);
        let ratios = |ratio: fn(&Turn) -> Option<f64>| Summary::of(self.turns.iter().filter_map(ratio));
        let (to_first, to_raw) = (ratios(|turn| turn.to_first), ratios(|turn| turn.to_raw));
        let (to_bar, speed) = (ratios(|turn| turn.to_bar), ratios(|turn| turn.speed));
        self.runs = self
            .turns
            .chunk_by(|one, next| one.round == next.round)
            .filter_map(Turn::middle)
            .collect();
        (self.rate, self.server_ns, self.busy) = (rate, server_ns, busy);
        (self.p50_us, self.p99_us, self.p999_us) = latencies;
        (self.wire_bytes, self.to_first, self.to_raw) = (wire_bytes, to_first, to_raw);
        (self.to_bar, self.speed) = (to_bar, speed);
    }
}

impl Turn {
    /// The median of each figure of one process.
    fn middle(turns: &[Self]) -> Option<Self> {
        let of = |ratio: fn(&Self) -> Option<f64>| Summary::of(turns.iter().filter_map(ratio)).map(|s| s.median);
        Some(Self {
            round: turns.first()?.round,
            measured: Measured::middle(&turns.iter().map(|turn| &turn.measured).collect::<Vec<_>>())?,
            to_first: of(|turn| turn.to_first),
            to_raw: of(|turn| turn.to_raw),
            to_bar: of(|turn| turn.to_bar),
            speed: of(|turn| turn.speed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::{RAW, UWS};

    #[test]
    fn a_run_is_compared_with_the_references_around_it() {
        let costs = [
            (UWS, 100.0),
            (RAW, 80.0),
            ("a", 50.0),
            (UWS, 140.0),
            (RAW, 90.0),
            ("b", 70.0),
        ];
        assert_eq!(ratio(&costs, 0, UWS), Some(1.0));
        assert_eq!(ratio(&costs, 1, UWS), Some(1.5));
        assert_eq!(ratio(&costs, 2, UWS), Some(2.4));
        assert_eq!(ratio(&costs, 2, RAW), Some(1.7));
        assert_eq!(ratio(&costs, 5, UWS), Some(2.0));
        assert_eq!(ratio(&costs, 2, "none"), None);
    }
}
