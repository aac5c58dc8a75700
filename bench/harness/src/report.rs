//! Tables to look at, pages to link to, JSON to compute with.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::Task;
use crate::cells::BARRED;
use crate::echo::{CellResult, Row};
use crate::memory;
use crate::stats::Summary;

pub(crate) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

const HEADINGS: [&str; 9] = [
    "server",
    "messages/s",
    "CPU ns/message",
    "× uWS",
    "× raw TCP",
    "p50 µs",
    "p99 µs",
    "p99.9 µs",
    "busy",
];

/// One cell, as Markdown that reads well in a terminal too.
pub(crate) fn table(result: &CellResult) -> String {
    let mut lines: Vec<Vec<String>> = vec![HEADINGS.map(String::from).to_vec()];
    let (compressed, shards) = (result.task == Task::Deflate, result.task == Task::Shards);
    if result.cell.contains("broadcast") {
        lines[0][1] = "deliveries/s".into();
        lines[0][2] = "CPU ns/delivery".into();
    }
    if shards {
        lines[0][3] = "× one shard".into();
        lines[0].push("× its rate".into());
    }
    if compressed {
        lines[0].push("answer B".into());
    }
    for row in &result.rows {
        let mut line = cells(row);
        if shards {
            line.push(spread(row.speed));
        }
        if compressed {
            line.push(number(row.wire_bytes, 0));
        }
        lines.push(line);
    }
    aligned(&lines) + &verdict(result)
}

/// The cell's bar, and whether the engine reaches it.
fn verdict(result: &CellResult) -> String {
    let (Some(bar), Some(row)) = (
        result.bar,
        result
            .rows
            .iter()
            .find(|row| row.server == BARRED && row.to_bar.is_some()),
    ) else {
        return String::new();
    };
    let reached = row.to_bar.is_some_and(|ratio| ratio.median >= bar.at_least);
    let reference = result.rows.iter().find(|row| row.server == bar.reference);
    format!(
        "\n{}: to be at least {} × {}, is {}: {}.\n",
        row.label,
        bar.at_least,
        reference.map_or(bar.reference, |row| row.label.as_str()),
        spread(row.to_bar),
        if reached { "reached" } else { "missed" },
    )
}

fn cells(row: &Row) -> Vec<String> {
    if row.failure.is_some() {
        let mut line = vec![row.label.clone()];
        line.resize(HEADINGS.len(), "failed".into());
        return line;
    }
    vec![
        row.label.clone(),
        number(row.rate, 0),
        number(row.server_ns, 0),
        spread(row.to_first),
        spread(row.to_raw),
        number(row.p50_us, 1),
        number(row.p99_us, 1),
        number(row.p999_us, 1),
        row.busy
            .map_or_else(dash, |busy| format!("{:.0} %", busy.median * 100.0)),
    ]
}

fn dash() -> String {
    "–".into()
}

fn number(summary: Option<Summary>, digits: usize) -> String {
    summary.map_or_else(dash, |summary| grouped(summary.median, digits))
}

/// The median and, in brackets, the quartiles.
fn spread(summary: Option<Summary>) -> String {
    summary.map_or_else(dash, |Summary { median, lower, upper }| {
        format!("{median:.2} ({lower:.2}–{upper:.2})")
    })
}

/// With spaces between groups of three digits.
fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let whole = text.find('.').unwrap_or(text.len());
    let mut out = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && index < whole && (whole - index) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A Markdown table whose columns line up; all but the first to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (column, (text, &width)) in line.iter().zip(&widths).enumerate() {
            if column == 0 {
                let _ = write!(out, "| {text:<width$} |");
            } else {
                let _ = write!(out, " {text:>width$} |");
            }
        }
        out.push('\n');
        if index == 0 {
            for (column, &width) in widths.iter().enumerate() {
                let rule = "-".repeat(width);
                let _ = if column == 0 {
                    write!(out, "|-{rule}-|")
                } else {
                    write!(out, "-{rule}:|")
                };
            }
            out.push('\n');
        }
    }
    out
}

/// All cells of a task, with what is needed to judge them.
pub(crate) fn echo_page(task: &str, record: &Value, results: &[CellResult]) -> String {
    let mut page = format!("# {}\n\n", heading(task));
    page.push_str(&conditions(task, record));
    page.push_str(explanation(task));
    page.push_str(
        "\nServer CPU is what the server's process took, user and kernel, divided by the messages echoed. Ratios are \
         the reference's CPU per\nmessage, measured just before and after, divided by the server's: higher is better. \
         They are medians, with quartiles in brackets.\nLatency is from the write of a batch to the last byte of its \
         answer, in a closed loop: it includes the wait behind the other\nconnections. `busy` is the part of its core \
         that the server used. uWebSockets accepts unmasked frames, and checks UTF-8 when a\nmessage is complete; \
         Sockeye refuses the former and checks UTF-8 as it comes.\n",
    );
    for result in results {
        let _ = write!(
            page,
            "\n## {}\n\n![{}]({}.svg)\n\n",
            result.label, result.label, result.cell
        );
        page.push_str(&table(result));
        for row in &result.rows {
            if let Some(failure) = &row.failure {
                let _ = write!(
                    page,
                    "\n{} failed: {}\n",
                    row.label,
                    failure.lines().next().unwrap_or_default()
                );
            }
        }
    }
    let versions = results.first().map(|result| {
        let rows = result.rows.iter().map(|row| [row.label.as_str(), row.version.as_str()]);
        versions(rows)
    });
    page + &versions.unwrap_or_default()
}

/// What is particular to a task.
fn explanation(task: &str) -> &'static str {
    match task {
        "broadcast" => {
            "\nOne connection publishes and all others get it: in each server, what a connection says goes to all but \
             itself. *W in flight* means that W\npublishes leave in one write, and the next ones when the last \
             subscriber has them all. A message counts once for each subscriber, whose\nbytes are compared. Latency is \
             from the publish to the last byte at a subscriber.\n"
        }
        "shards" => {
            "\nThe engine with one thread and with two, on two cores that the load generator shares, which sleeps here \
             when it has nothing to do. So two\nshards cannot have twice the rate: what they cost for each message says \
             how they would scale with cores of their own. `busy` counts\nall cores: 200 % are two.\n"
        }
        _ => "",
    }
}

fn heading(task: &str) -> &str {
    match task {
        "broadcast" => "Broadcast",
        "shards" => "One shard and two",
        "deflate" => "Echo under permessage-deflate",
        "tls" => "Echo over TLS",
        _ => "Echo",
    }
}

/// The command, the machine, the settings.
fn conditions(task: &str, record: &Value) -> String {
    let environment = &record["environment"];
    let text = |name: &str| environment[name].as_str().unwrap_or("unknown").to_owned();
    let quick = if record["settings"]["quick"] == true {
        " --quick"
    } else {
        ""
    };
    let machine = if environment["virtual"] == true {
        " of a virtual machine"
    } else {
        ""
    };
    let mut out = format!("`cargo xtask bench {task}{quick}`, at {}.\n\n", text("revision"));
    let _ = writeln!(
        out,
        "- {}, {} cores{machine}; Linux {}",
        text("cpu"),
        environment["cores"],
        text("kernel")
    );
    let pinned = match &environment["pinned"] {
        _ if task == "shards" => "server and load on all cores".to_owned(),
        Value::Null => "not pinned".to_owned(),
        cores => format!("server on core {}, load on core {}", cores["server"], cores["load"]),
    };
    let _ = writeln!(
        out,
        "- {pinned}; loopback, {}, TCP_NODELAY{}",
        text("congestion_control"),
        if task == "shards" { "" } else { "; one thread each" }
    );
    let _ = writeln!(out, "- {}; {}", text("rustc"), text("gcc"));
    let settings = &record["settings"];
    let figures = (
        settings["repeats"].as_u64(),
        settings["turns"].as_u64(),
        settings["seconds"].as_f64(),
    );
    if let (Some(repeats), Some(turns), Some(seconds)) = figures {
        let _ = writeln!(
            out,
            "- {repeats} rounds with new processes, {turns} turns of {seconds} s in each"
        );
    }
    out
}

fn versions<'a>(rows: impl Iterator<Item = [&'a str; 2]>) -> String {
    let mut out = String::from("\n## Versions\n\n");
    for [label, version] in rows {
        let _ = writeln!(out, "- {label}: {version}");
    }
    out
}

pub(crate) fn memory_table(rows: &[memory::Row]) -> String {
    let bytes = |value: Option<f64>| value.map_or_else(dash, |bytes| grouped(bytes, 0));
    let mut lines = vec![
        ["server", "plain", "deflate negotiated", "TLS"]
            .map(String::from)
            .to_vec(),
    ];
    for row in rows {
        lines.push(vec![
            row.label.clone(),
            bytes(row.plain),
            bytes(row.deflate),
            bytes(row.tls),
        ]);
    }
    aligned(&lines)
}

pub(crate) fn memory_page(record: &Value, rows: &[memory::Row]) -> String {
    let mut page = String::from("# Memory of idle connections\n\n");
    page.push_str(&conditions("memory", record));
    let _ = write!(
        page,
        "- {} connections, idle after one message each\n\nBytes for each: the growth of Private_Dirty (heap and stacks) \
         in the server's `/proc/PID/smaps_rollup`, from 16 connections\non. The kernel's memory for the socket, about \
         3.8 KB an end, is the same for all and not in it.\n\n",
        record["settings"]["connections"]
    );
    page.push_str(&memory_table(rows));
    page + &versions(rows.iter().map(|row| [row.label.as_str(), row.version.as_str()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        assert_eq!(grouped(1_234_567.0, 0), "1 234 567");
        assert_eq!(grouped(123.45, 1), "123.5");
        assert_eq!(grouped(1234.0, 1), "1 234.0");
    }

    #[test]
    fn columns_line_up() {
        let lines = [["a", "×"], ["long", "12"]].map(|line| line.map(String::from).to_vec());
        assert_eq!(aligned(&lines), "| a    |  × |\n|------|---:|\n| long | 12 |\n");
    }
}
