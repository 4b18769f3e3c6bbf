//! Logging as Multus's keys ask: level, file, stderr; text or JSON.
//!
//! Level `panic` sets nothing up. Without a level, decisions and warnings go to stderr (Multus says nothing then).

use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use attach::config::{Log, LogFormat};
use tracing::level_filters::LevelFilter;
use tracing::span::{self, Attributes, Id};
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;

use crate::log_file::LogFile;

/// Sends what is logged from now on where the configuration says. Only the first call of a process counts.
pub(crate) fn init(log: &Log) {
    let (level, unknown) = match log.level.to_ascii_lowercase().as_str() {
        "panic" => (LevelFilter::OFF, false),
        "error" => (LevelFilter::ERROR, false),
        "" | "verbose" => (LevelFilter::INFO, false),
        "debug" => (LevelFilter::DEBUG, false),
        _ => (LevelFilter::INFO, true),
    };
    if level == LevelFilter::OFF || (!log.to_stderr && log.file.is_none()) {
        return;
    }
    // A second one in the same process finds the first in place, which is as good.
    let _ = tracing::subscriber::set_global_default(Lazy { level, log: log.clone(), real: OnceLock::new() });
    if unknown {
        tracing::warn!("key \"logLevel\": \"{}\" is none of panic, error, verbose, debug: using verbose", log.level);
    }
}

/// Sends what is logged to stderr: for programs that people and pods start.
pub(crate) fn for_people() {
    let conf = cni::Json::parse(br#"{"name": "plexus-node", "logLevel": "verbose"}"#).ok();
    if let Some(config) = conf.and_then(|conf| attach::Config::read(&conf).ok()) {
        init(&config.log);
    }
}

/// Made ready by the first event: most calls have nothing to say, and making a formatter ready costs more than reading the configuration.
struct Lazy {
    level: LevelFilter,
    log: Log,
    real: OnceLock<Dispatch>,
}

impl Lazy {
    fn real(&self) -> &Dispatch {
        self.real.get_or_init(|| {
            let file = self.log.file.as_ref().map(|path| Mutex::new(LogFile::new(path.clone(), &self.log)));
            let output = Output { file, stderr: self.log.to_stderr };
            let builder = tracing_subscriber::fmt().with_max_level(self.level).with_target(false).with_ansi(false);
            match self.log.format {
                LogFormat::Text => Dispatch::new(builder.with_writer(output).finish()),
                LogFormat::Json => Dispatch::new(builder.json().with_writer(output).finish()),
            }
        })
    }
}

impl Subscriber for Lazy {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        self.real().event(event);
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.real().new_span(attributes)
    }

    fn record(&self, span: &Id, values: &span::Record<'_>) {
        self.real().record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.real().record_follows_from(span, follows);
    }

    fn enter(&self, span: &Id) {
        self.real().enter(span);
    }

    fn exit(&self, span: &Id) {
        self.real().exit(span);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.real().clone_span(id)
    }

    fn try_close(&self, id: Id) -> bool {
        self.real().try_close(id)
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
