//! Bar plots as SVG, by hand: rectangles and text need no library.

use std::fmt::Write as _;

use crate::Task;
use crate::echo::{CellResult, Row};
use crate::stats::Summary;

/// Lengths in pixels.
const WIDTH: f64 = 890.0;
const LEFT: f64 = 262.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 62.0;
const STEP: f64 = 26.0;
const BAR: f64 = 16.0;

/// One bar for each server, the best on top, with whiskers at the quartiles and a line at the reference.
pub(crate) fn cell(result: &CellResult) -> String {
    let has_first = result.rows.iter().any(|row| row.to_first.is_some());
    let of = |row: &Row| if has_first { row.to_first } else { row.to_raw };
    let mut bars: Vec<(&Row, Summary)> = result.rows.iter().filter_map(|row| Some((row, of(row)?))).collect();
    bars.sort_by(|(_, left), (_, right)| right.median.total_cmp(&left.median));
    let reference = match has_first {
        true if result.task == Task::Shards => "one shard",
        true => "uWebSockets",
        false => "raw TCP",
    };
    let most = bars.iter().map(|(_, ratio)| ratio.upper).fold(1.0, f64::max);
    let x = |ratio: f64| LEFT + (WIDTH - LEFT - RIGHT) * ratio / most;
    let height = TOP + STEP * bars.len() as f64 + 14.0;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"#fff\"/>\n"
    );
    let _ = writeln!(
        svg,
        "<text x=\"14\" y=\"24\" font-size=\"16\" font-weight=\"600\">{}</text>",
        escaped(result.label)
    );
    let _ = writeln!(
        svg,
        "<text x=\"14\" y=\"44\" fill=\"#666\">messages for the same server CPU, relative to {reference}; more is better; \
         whiskers: quartiles</text>"
    );
    for (index, (row, ratio)) in bars.iter().enumerate() {
        let top = TOP + STEP * index as f64;
        let (middle, base) = (top + BAR / 2.0, top + BAR - 3.5);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{base:.1}\" text-anchor=\"end\"{}>{}</text>",
            LEFT - 8.0,
            if is_ours(&row.server) {
                " font-weight=\"600\""
            } else {
                ""
            },
            escaped(&row.label)
        );
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{}\"/>",
            x(ratio.median) - LEFT,
            colour(&row.server)
        );
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#222\" stroke-width=\"1.5\"/>",
            x(ratio.lower),
            x(ratio.upper)
        );
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{base:.1}\">{:.2}</text>",
            x(ratio.upper) + 6.0,
            ratio.median
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {:.1}V{:.1}\" stroke=\"#222\" stroke-dasharray=\"3 3\" opacity=\"0.6\"/>\n</svg>",
        x(1.0),
        TOP - 6.0,
        height - 10.0
    );
    svg
}

/// Sockeye stands out, the floors step back.
fn colour(server: &str) -> &'static str {
    match server {
        _ if is_ours(server) => "#d1495b",
        "uws" => "#30638e",
        _ if server.starts_with("raw") => "#b8bec6",
        _ => "#7fa6c4",
    }
}

fn is_ours(server: &str) -> bool {
    server == "sockeye" || server.starts_with("engine")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
