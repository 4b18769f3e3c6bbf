//! Logging as Multus's keys ask: level, file, stderr; text or JSON.
//!
//! Level `panic` sets nothing up. Without a level, decisions and warnings go to stderr (Multus says nothing then).

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use attach::config::{Log, LogFormat};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::log_file::LogFile;

/// Sends what is logged from now on where the configuration says. Only the first call of a process counts.
pub(crate) fn init(log: &Log) {
    let (level, unknown) = match log.level.to_ascii_lowercase().as_str() {
        "panic" => (LevelFilter::OFF, false),
        "error" => (LevelFilter::WARN, false),
        "" | "verbose" => (LevelFilter::INFO, false),
        "debug" => (LevelFilter::DEBUG, false),
        _ => (LevelFilter::INFO, true),
    };
    if level == LevelFilter::OFF || (!log.to_stderr && log.file.is_none()) {
        return;
    }
    let file = log.file.as_ref().map(|path| Mutex::new(LogFile::new(path.clone(), log)));
    let output = Output { file, stderr: log.to_stderr };
    let subscriber =
        tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(false).with_writer(output);
    // A second one in the same process finds the first in place, which is as good.
    let _ = match log.format {
        LogFormat::Text => tracing::subscriber::set_global_default(subscriber.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(subscriber.json().finish()),
    };
    if unknown {
        tracing::warn!("key \"logLevel\": \"{}\" is none of panic, error, verbose, debug: using verbose", log.level);
    }
}

/// Where a line goes: the file, stderr, or both.
struct Output {
    file: Option<Mutex<LogFile>>,
    stderr: bool,
}

struct Line<'a>(&'a Output);

impl<'a> MakeWriter<'a> for Output {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

impl Write for Line<'_> {
    /// One call is one line. A log that cannot be written fails no CNI call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.stderr {
            let _ = io::stderr().lock().write_all(line);
        }
        if let Some(file) = &self.0.file {
            let written = file.lock().unwrap_or_else(PoisonError::into_inner).write(line);
            if let Err(e) = written {
                let _ = writeln!(io::stderr().lock(), "{e}");
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
