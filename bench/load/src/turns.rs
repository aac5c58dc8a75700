//! Warming up, one turn or many, and who says when.

use std::io::{self, BufRead as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::Args;
use crate::frames::Batch;
use crate::window::{Until, Window};

/// Part of a turn's time that goes before it and is not measured: since its last turn others have had the caches.
const AGAIN: f64 = 0.2;

/// A closed loop that can be taken up again.
pub(crate) trait Load {
    /// Sends batches while the window says so, and returns when everything is answered.
    fn turn(&mut self, window: &mut Window) -> Result<()>;

    fn batch(&self) -> &Batch;
}

/// Warms up and measures: once, or with `--turns` each time that a line on stdin says for how many seconds, until it
/// ends. The results are lines on stdout.
pub(crate) fn run(args: &Args, load: &mut dyn Load) -> Result<()> {
    pass(args, load, args.warm_up)?;
    if !args.turns {
        let time = Until::Passed(seconds(args.seconds)?);
        return tell(&turn(args, load, args.messages.map_or(time, Until::Messages))?);
    }
    tell(&Value::from("ready"))?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let time: f64 = line.parse().with_context(|| format!("{line:?} is not a time"))?;
        pass(args, load, time * AGAIN)?;
        tell(&turn(args, load, Until::Passed(seconds(time)?))?)?;
    }
    Ok(())
}

/// A turn that is not measured.
fn pass(args: &Args, load: &mut dyn Load, time: f64) -> Result<()> {
    if time > 0.0 {
        load.turn(&mut Window::new(args, Until::Passed(seconds(time)?))?)?;
    }
    Ok(())
}

fn turn(args: &Args, load: &mut dyn Load, until: Until) -> Result<Value> {
    let mut window = Window::new(args, until)?;
    load.turn(&mut window)?;
    window.result(args.depth, load.batch())
}

fn seconds(time: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(time).with_context(|| format!("{time} is not a time"))
}

fn tell(result: &Value) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{result}")?;
    Ok(stdout.flush()?)
}
