//! What the peers found, judged, counted, and written down as `docs/interop.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::peers::{CELLS, COMPRESSION, Peer, Way};
use crate::tally::Tally;

/// One cell on one way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// With what was seen instead.
    Failed(String),
    /// Not asked: the peer has no such thing, or the way does not offer it.
    Absent,
}

/// What a peer's program printed: its version, and by way what it found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) version: Option<String>,
    ways: BTreeMap<String, Findings>,
    /// Why a program died before it came to a way, as far as it said.
    stray: Option<String>,
}

#[derive(Debug, Default)]
struct Findings {
    cells: BTreeMap<String, Result<(), String>>,
    /// Why there is no more.
    error: Option<String>,
}

impl Report {
    /// Reads the lines `version V`, `route NAME`, `pass CELL`, `fail CELL: WHY` and `error WHY`. What stands before the
    /// first route belongs to `way`. Of whatever else a program says the first line that speaks of an error is kept.
    pub(super) fn read(lines: &[String], way: &str) -> Self {
        let mut report = Self::default();
        let mut way = way.to_owned();
        for line in lines {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            if word == "version" {
                report.version = Some(rest.to_owned());
                continue;
            }
            if word == "route" {
                rest.clone_into(&mut way);
                continue;
            }
            let findings = report.ways.entry(way.clone()).or_default();
            match word {
                "pass" => drop(findings.cells.insert(rest.to_owned(), Ok(()))),
                "fail" => {
                    let (cell, why) = rest.split_once(": ").unwrap_or((rest, ""));
                    findings.cells.insert(cell.to_owned(), Err(why.to_owned()));
                }
                "error" if way.is_empty() => report.stray = Some(rest.to_owned()),
                "error" => findings.error = Some(rest.to_owned()),
                _ if report.stray.is_none() && line.to_ascii_lowercase().contains("error") => {
                    report.stray = Some(line.trim().to_owned());
                }
                _ => {}
            }
        }
        report
    }

    /// Takes over the ways of another report of the same peer.
    pub(super) fn add(&mut self, other: Self) {
        self.version = self.version.take().or(other.version);
        self.stray = self.stray.take().or(other.stray);
        self.ways.extend(other.ways);
    }
}

/// A peer's row, by ways and cells.
#[derive(Debug)]
pub(super) struct Row {
    peer: &'static Peer,
    version: String,
    /// A way, and one outcome for each of [`CELLS`].
    ways: Vec<(&'static Way, Vec<Outcome>)>,
}

impl Row {
    pub(super) fn judge(peer: &'static Peer, ways: &[&'static Way], report: &Report, version: String) -> Self {
        let nothing = Findings::default();
        let ways = ways.iter().map(|&way| {
            let findings = report.ways.get(way.id).unwrap_or(&nothing);
            let error = findings.error.as_deref().or(report.stray.as_deref());
            let outcomes = CELLS.iter().map(|cell| outcome(peer, way, cell, findings, error));
            (way, outcomes.collect())
        });
        Self {
            peer,
            version,
            ways: ways.collect(),
        }
    }

    /// Prints what failed, and counts. A known fault of the peer's is no failure.
    pub(super) fn tally(&self, role: &str) -> Tally {
        let all = || self.ways.iter().flat_map(|(_, outcomes)| outcomes);
        let passed = all().filter(|outcome| **outcome == Outcome::Passed).count();
        let mut sum = Tally {
            passed,
            ..Tally::default()
        };
        for failure in self.failures() {
            let verdict = if failure.known { "KNOWN" } else { "FAILED" };
            println!("{verdict}: {} as {role}: {}", self.peer.name, failure.shown());
            if !failure.known {
                sum.failed += failure.cells.len();
            }
        }
        println!("{} {} as {role}: {sum}", self.peer.name, self.version);
        sum
    }

    /// What failed, by ways; cells that failed alike together.
    fn failures(&self) -> Vec<Failure<'_>> {
        let mut failures: Vec<Failure<'_>> = Vec::new();
        for (way, outcomes) in &self.ways {
            for (cell, outcome) in CELLS.iter().zip(outcomes) {
                let Outcome::Failed(why) = outcome else {
                    continue;
                };
                let fault = self.fault(cell, why);
                let why = fault.unwrap_or(why);
                match failures
                    .iter_mut()
                    .find(|other| other.way == way.title && other.why == why)
                {
                    Some(other) => other.cells.push(cell),
                    None => failures.push(Failure {
                        way: way.title,
                        cells: vec![cell],
                        why,
                        known: fault.is_some(),
                    }),
                }
            }
        }
        failures
    }

    /// The fault of the peer's by which the cell fails when `why` is seen.
    fn fault(&self, cell: &str, why: &str) -> Option<&'static str> {
        let mut known = self.peer.faults.iter();
        let known = known.find(|fault| fault.cell == cell && why.contains(fault.seen));
        known.map(|fault| fault.what)
    }

    /// A cell over all ways: one that fails on one way has failed.
    fn mark(&self, cell: usize) -> &'static str {
        let of = |wanted: fn(&Outcome) -> bool| self.ways.iter().any(|(_, outcomes)| wanted(&outcomes[cell]));
        if of(|outcome| matches!(outcome, Outcome::Failed(_))) {
            "✗"
        } else if of(|outcome| *outcome == Outcome::Passed) {
            "✓"
        } else {
            "–"
        }
    }

    /// The row by cells.
    fn cells(&self) -> String {
        let mut line = format!("| {} | {} |", self.peer.name, self.version);
        for cell in 0..CELLS.len() {
            let _ = write!(line, " {} |", self.mark(cell));
        }
        line
    }

    /// The row by ways: how many of the cells that were asked have passed.
    fn ways(&self, titles: &[&str]) -> String {
        let mut line = format!("| {} |", self.peer.name);
        for title in titles {
            let Some((_, outcomes)) = self.ways.iter().find(|(way, _)| way.title == *title) else {
                line += " |";
                continue;
            };
            let asked = outcomes.iter().filter(|outcome| **outcome != Outcome::Absent).count();
            let passed = outcomes.iter().filter(|outcome| **outcome == Outcome::Passed).count();
            let _ = write!(line, " {passed} of {asked} |");
        }
        line
    }
}

/// A cell that a program told of, or why it did not: it need not, or there was an error.
fn outcome(peer: &Peer, way: &Way, cell: &str, findings: &Findings, error: Option<&str>) -> Outcome {
    let offered = cell != COMPRESSION || way.compressed;
    match findings.cells.get(cell) {
        Some(Ok(())) if offered => Outcome::Passed,
        Some(Ok(())) => Outcome::Failed("negotiated, though not both were willing".into()),
        Some(Err(why)) => Outcome::Failed(why.clone()),
        None if !offered || !way.cells.contains(&cell) => Outcome::Absent,
        None if !way.begins && peer.lacks.iter().any(|(cells, _)| cells.contains(&cell)) => Outcome::Absent,
        None => Outcome::Failed(error.unwrap_or("it told no result").to_owned()),
    }
}

/// Cells of a way that failed for one reason.
#[derive(Debug)]
struct Failure<'a> {
    way: &'static str,
    cells: Vec<&'static str>,
    why: &'a str,
    /// Whether it is the peer's own fault.
    known: bool,
}

impl Failure<'_> {
    fn shown(&self) -> String {
        format!("{} ({}): {}", self.cells.join(", "), self.way, self.why)
    }
}

/// The rows of both roles, and the proxies in between.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) clients: Vec<Row>,
    pub(super) servers: Vec<Row>,
    /// Names with versions.
    pub(super) proxies: Vec<String>,
}

impl Table {
    /// The page `docs/interop.md`.
    pub(super) fn page(&self) -> String {
        let mut page = String::from(HEAD);
        page += "\n## Clients of `sockeye echo`\n\n";
        section(&mut page, "client", &self.clients);
        let _ = writeln!(page, "\nIn between: {}.", self.proxies.join(", "));
        page += "\n## Servers for Sockeye's client\n\n";
        section(&mut page, "server", &self.servers);
        page
    }
}

fn section(page: &mut String, role: &str, rows: &[Row]) {
    let _ = writeln!(page, "| {role} | version | {} |", CELLS.join(" | "));
    *page += &format!("|---|---|{}\n", ":-:|".repeat(CELLS.len()));
    for row in rows {
        *page += &format!("{}\n", row.cells());
    }
    let mut titles: Vec<&str> = Vec::new();
    for (way, _) in rows.iter().flat_map(|row| &row.ways) {
        if !titles.contains(&way.title) {
            titles.push(way.title);
        }
    }
    let _ = writeln!(page, "\n| {role} | {} |", titles.join(" | "));
    *page += &format!("|---|{}\n", ":-:|".repeat(titles.len()));
    for row in rows {
        *page += &format!("{}\n", row.ways(&titles));
    }
    *page += "\n";
    for (what, names) in notes(rows) {
        *page += &format!("- {}: {what}.\n", names.join(", "));
    }
}

/// Why cells are not asked, what failed by whose fault, and what was seen of other failures; and of whom.
fn notes(rows: &[Row]) -> Vec<(String, Vec<&'static str>)> {
    let mut notes: Vec<(String, Vec<&'static str>)> = Vec::new();
    let mut note = |what: String, name: &'static str| match notes.iter_mut().find(|(known, _)| *known == what) {
        Some((_, names)) if names.contains(&name) => {}
        Some((_, names)) => names.push(name),
        None => notes.push((what, vec![name])),
    };
    for row in rows {
        for (_, why) in row.peer.lacks {
            note((*why).to_owned(), row.peer.name);
        }
        for failure in row.failures() {
            if failure.known {
                note(format!("{}: {}", failure.cells.join(", "), failure.why), row.peer.name);
            } else {
                note(failure.shown(), row.peer.name);
            }
        }
    }
    notes
}

const HEAD: &str = "\
# Sockeye and others

Written by `cargo xtask interop`, which runs all of this; CI does on every change. Another edit will be lost.

✓ works, on each of the ways below; ✗ does not; – is not asked. The cells:

- **text**, **binary**, **1 MiB**: messages come back as they were sent: UTF-8 of up to four bytes, an empty text, three bytes,
  and a binary message of 1,048,576 bytes, the greatest that is taken by default.
- **fragments**: a text in fragments, with a ping between them, comes back whole. **ping**: that ping has its pong.
- **close**: a Close with code 4001 and the reason `bye` is answered by one with code 4001, and the connection ends cleanly.
- **subprotocol**: of `nope` and `chat` the server chooses `chat`.
- **compression**: permessage-deflate is agreed on, and all of the above holds with it; without it, nobody compresses.

The first sender is the client. Where \"Sockeye begins\", its server sends the fragments, the ping and the Close, and the client
puts them together, answers, and reads the Close's code and reason; then it closes another connection, and the server tells
which code and reason came. Servers that can be told to close do that as well.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::peers::{AIOHTTP_SERVER, CHROMIUM, TO_SOCKEYE, WS_CLIENT};

    fn row(peer: &'static Peer, text: &str) -> Row {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let report = Report::read(&lines, "plain");
        Row::judge(peer, &[&TO_SOCKEYE[0], &TO_SOCKEYE[1]], &report, "1".into())
    }

    const ALL: &str = "pass text\npass binary\npass 1 MiB\npass fragments\npass ping\npass close\npass subprotocol\n";

    fn twice(cells: &str) -> String {
        format!("version 1\n{cells}route deflate\n{cells}pass compression\n")
    }

    #[test]
    fn all_cells_pass() {
        let row = row(&WS_CLIENT, &twice(ALL));
        assert_eq!(row.tally("client").to_string(), "15 passed, 0 failed");
        assert_eq!(row.cells(), "| ws | 1 | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |");
        let titles = ["ws:", "ws:, no compression", "wss:"];
        assert_eq!(row.ways(&titles), "| ws | 8 of 8 | 7 of 7 | |");
    }

    #[test]
    fn a_cell_that_nobody_told_of_has_failed_unless_the_peer_lacks_it() {
        let some = ALL.replace("pass fragments\npass ping\n", "");
        assert_eq!(row(&CHROMIUM, &twice(&some)).tally("client").failed, 0);
        assert_eq!(row(&CHROMIUM, &twice(&some)).mark(3), "–");
        assert_eq!(row(&WS_CLIENT, &twice(&some)).tally("client").failed, 4);
        let died = row(&WS_CLIENT, "node:internal/modules\nError: Cannot find module 'ws'\n");
        assert_eq!(died.tally("client").failed, 15);
        assert!(
            died.failures()[0]
                .shown()
                .ends_with("(ws:, no compression): Error: Cannot find module 'ws'")
        );
    }

    #[test]
    fn compression_is_agreed_on_by_both_or_not_at_all() {
        let asked_for = format!("{ALL}route deflate\n{ALL}");
        assert_eq!(row(&WS_CLIENT, &asked_for).tally("client").failed, 1);
        let unasked = format!("{ALL}pass compression\nroute deflate\n{ALL}pass compression\n");
        assert_eq!(row(&WS_CLIENT, &unasked).tally("client").failed, 1);
    }

    #[test]
    fn a_known_fault_is_shown_and_does_not_fail_the_run() {
        let row = row(
            &AIOHTTP_SERVER,
            &twice(&ALL.replace("pass close", "fail close: it answered 1000, and closed with 4001 bye")),
        );
        assert_eq!(row.tally("server").to_string(), "13 passed, 0 failed");
        assert_eq!(row.mark(5), "✗");
        let other = self::row(
            &AIOHTTP_SERVER,
            &twice(&ALL.replace("pass close", "fail close: it answered 1000, and closed with 1006 ")),
        );
        assert_eq!(other.tally("server").failed, 2);
        let page = Table {
            servers: vec![row],
            ..Table::default()
        }
        .page();
        assert!(
            page.contains("- aiohttp: close: it answers a Close with code 4001"),
            "{page}"
        );
    }
}
