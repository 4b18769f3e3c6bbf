//! What the user sees: colours where wanted (NO_COLOR, terminals only), steps with the time each took.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Colours are wanted: a terminal that can, and no NO_COLOR (no-color.org).
static COLOUR: LazyLock<bool> = LazyLock::new(|| {
    let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
});

fn paint(code: &str, text: impl Display) -> String {
    if *COLOUR { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
}

pub(crate) fn bold(text: impl Display) -> String {
    paint("1", text)
}

pub(crate) fn dim(text: impl Display) -> String {
    paint("2", text)
}

pub(crate) fn green(text: impl Display) -> String {
    paint("32", text)
}

pub(crate) fn red(text: impl Display) -> String {
    paint("1;31", text)
}

pub(crate) fn yellow(text: impl Display) -> String {
    paint("33", text)
}

pub(crate) fn cyan(text: impl Display) -> String {
    paint("36", text)
}

pub(crate) fn magenta(text: impl Display) -> String {
    paint("35", text)
}

/// A part of the story.
pub(crate) fn heading(text: &str) {
    println!("\n{}", bold(text));
}

/// One thing done, and how long it took.
pub(crate) fn done(what: impl Display, took: Duration) {
    line(&green("✓"), what, took);
}

/// One thing that went wrong.
pub(crate) fn failed(what: impl Display, took: Duration) {
    line(&red("✗"), what, took);
}

fn line(mark: &str, what: impl Display, took: Duration) {
    let what = what.to_string();
    let pad = 86usize.saturating_sub(width(&what));
    println!("  {mark} {what}{:pad$} {}", "", dim(format!("{:>9}", time(took))));
    let _ = std::io::stdout().flush();
}

/// A command as the user could type it.
pub(crate) fn prompt(place: &str, command: &str) {
    println!("  {} {command}", cyan(format!("[{place}]$")));
}

/// Output of a program, set in.
pub(crate) fn output(text: &str) {
    for line in text.trim_end().lines() {
        println!("    {line}");
    }
}

/// A duration with its unit: `0.8 ms`, `1.2 s`.
pub(crate) fn time(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1e3;
    if ms < 1000.0 { format!("{ms:.1} ms") } else { format!("{:.1} s", ms / 1e3) }
}

/// Columns that a text takes: escapes take none.
fn width(text: &str) -> usize {
    let mut columns = 0;
    let mut escape = false;
    for c in text.chars() {
        match (escape, c) {
            (false, '\x1b') => escape = true,
            (true, 'm') => escape = false,
            (false, _) => columns += 1,
            (true, _) => {}
        }
    }
    columns
}

/// Runs a step and reports it with the text that it returns.
pub(crate) fn step<T>(name: &str, run: impl FnOnce() -> anyhow::Result<(T, String)>) -> anyhow::Result<T> {
    let start = Instant::now();
    match run() {
        Ok((value, text)) => {
            done(text, start.elapsed());
            Ok(value)
        }
        Err(error) => {
            failed(name, start.elapsed());
            Err(error)
        }
    }
}
