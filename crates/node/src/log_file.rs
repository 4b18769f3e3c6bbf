//! A log file that does not grow without end: rotated by size, old files removed by age and number, compressed.
//!
//! Names and rules are those of the logger that Multus uses, so either continues the other's files: `x.log` becomes
//! `x-2026-01-31T12-00-00.000.log`, and `.gz` behind it when compressed. Many short processes write to the same file: lines are appended in
//! one write each, under a lock that keeps them apart from whoever rotates. Nothing here waits for long: a process that was stopped while it had
//! the lock must not stop every other on the node, so without the lock a line is appended all the same, and nothing is rotated.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use attach::config::Log;
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

/// How long another process may hold the lock. Whoever writes or rotates has it for microseconds.
const LOCK_WAIT: Duration = Duration::from_millis(50);
/// How often the file may be rotated away from under one line.
const REOPENED: u32 = 1000;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A log file; opened when the first line is written.
pub(crate) struct LogFile {
    path: PathBuf,
    open: Option<File>,
    /// In bytes.
    max_size: u64,
    /// 0: any number.
    max_backups: usize,
    /// 0: any age.
    max_age: Duration,
    compress: bool,
    /// Somebody did not give the lock back in time: it is not waited for again.
    stuck: bool,
}

impl LogFile {
    pub(crate) fn new(path: PathBuf, log: &Log) -> LogFile {
        // The logger Multus uses takes 0 megabytes for its default.
        let megabytes = if log.max_size_mb == 0 { 100 } else { log.max_size_mb };
        LogFile {
            path,
            open: None,
            max_size: u64::from(megabytes) << 20,
            max_backups: usize::try_from(log.max_backups).unwrap_or(usize::MAX),
            max_age: DAY * log.max_age_days,
            compress: log.compress,
            stuck: false,
        }
    }

    /// Appends a line.
    ///
    /// Writers share a lock, whoever rotates has it alone: no line goes into a file that is being compressed.
    pub(crate) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        for _ in 0..REOPENED {
            let file = match self.open.take() {
                Some(file) => file,
                None => open(&self.path)?,
            };
            let locked = self.lock(&file, FlockOperation::NonBlockingLockShared)?;
            if !same(&file, &self.path) {
                continue;
            }
            let size = file.metadata()?.len();
            if locked && size != 0 && size + line.len() as u64 > self.max_size {
                flock(&file, FlockOperation::Unlock)?;
                if self.rotate(&file, size)? {
                    continue;
                }
            }
            return self.append(file, line);
        }
        let file = open(&self.path)?;
        self.append(file, line)
    }

    fn append(&mut self, file: File, line: &[u8]) -> io::Result<()> {
        (&file).write_all(line)?;
        flock(&file, FlockOperation::Unlock)?;
        self.open = Some(file);
        Ok(())
    }

    /// Whether the lock could be had in time; soon told if it could not before.
    fn lock(&mut self, file: &File, operation: FlockOperation) -> io::Result<bool> {
        let start = Instant::now();
        loop {
            match flock(file, operation) {
                Ok(()) => {
                    self.stuck = false;
                    return Ok(true);
                }
                Err(Errno::INTR) => {}
                // Rotated away, it may be being compressed.
                Err(Errno::WOULDBLOCK) if self.stuck || start.elapsed() > LOCK_WAIT || !same(file, &self.path) => {
                    self.stuck |= same(file, &self.path);
                    return Ok(false);
                }
                Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(1)),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Makes room, unless another process has meanwhile. Whether there is room now.
    fn rotate(&mut self, full: &File, size: u64) -> io::Result<bool> {
        if !self.lock(full, FlockOperation::NonBlockingLockExclusive)? {
            // Moved on to another file, or too busy.
            return Ok(!same(full, &self.path));
        }
        if !same(full, &self.path) || full.metadata()?.len() < size {
            flock(full, FlockOperation::Unlock)?;
            return Ok(true);
        }
        let (stem, extension) = self.name();
        let mut time = SystemTime::now();
        loop {
            let text = humantime::format_rfc3339_millis(time).to_string();
            let text = text.trim_end_matches('Z').replace(':', "-");
            let backup = self.path.with_file_name(format!("{stem}-{text}{extension}"));
            let taken = backup.with_file_name(format!("{stem}-{text}{extension}.gz")).exists();
            if !taken {
                match renameat_with(CWD, &self.path, CWD, &backup, RenameFlags::NOREPLACE) {
                    Err(Errno::EXIST) => {}
                    renamed => break renamed?,
                }
            }
            time += Duration::from_millis(1);
        }
        flock(full, FlockOperation::Unlock)?;
        self.tidy().map(|()| true)
    }

    /// Removes and compresses rotated files. One that was not compressed for a reason of its time (a killed process) is compressed now.
    fn tidy(&self) -> io::Result<()> {
        let mut backups = self.backups()?;
        let keep = if self.max_backups == 0 { backups.len() } else { self.max_backups.min(backups.len()) };
        for old in backups.split_off(keep) {
            gone_is_fine(fs::remove_file(old))?;
        }
        for backup in backups {
            // Another process may be tidying as well.
            let Ok(modified) = backup.metadata().and_then(|m| m.modified()) else { continue };
            if !self.max_age.is_zero() && modified.elapsed().is_ok_and(|age| age > self.max_age) {
                gone_is_fine(fs::remove_file(backup))?;
            } else if self.compress && backup.extension().is_none_or(|e| e != "gz") {
                compress(&backup)?;
            }
        }
        Ok(())
    }

    /// Rotated files, newest first.
    fn backups(&self) -> io::Result<Vec<PathBuf>> {
        let (stem, extension) = self.name();
        let dir = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut backups = Vec::new();
        for entry in dir.read_dir()? {
            let entry = entry?;
            // A pipe of such a name would be waited for.
            if !entry.file_type()?.is_file() {
                continue;
            }
            let path = entry.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let time = name.strip_prefix(&format!("{stem}-")).and_then(|rest| {
                let rest = rest.strip_suffix(".gz").unwrap_or(rest);
                rest.strip_suffix(extension.as_str())
            });
            if time.is_some_and(is_time) {
                backups.push(path);
            }
        }
        backups.sort();
        backups.reverse();
        Ok(backups)
    }

    /// The file's name in two parts: before and from the last dot.
    fn name(&self) -> (String, String) {
        let part = |p: Option<&std::ffi::OsStr>| p.unwrap_or_default().to_string_lossy().into_owned();
        let extension = self.path.extension().map(|e| format!(".{}", part(Some(e)))).unwrap_or_default();
        (part(self.path.file_stem()), extension)
    }
}

/// `2026-01-31T12-00-00.000`
fn is_time(text: &str) -> bool {
    let pattern = b"0000-00-00T00-00-00.000";
    let fits = |(c, p): (&u8, &u8)| if *p == b'0' { c.is_ascii_digit() } else { c == p };
    text.len() == pattern.len() && text.as_bytes().iter().zip(pattern).all(fits)
}

/// The path leads to the open file.
fn same(file: &File, path: &Path) -> bool {
    let id = |m: fs::Metadata| (m.dev(), m.ino());
    matches!((file.metadata().map(id), path.metadata().map(id)), (Ok(a), Ok(b)) if a == b)
}

fn gone_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn open(path: &Path) -> io::Result<File> {
    // A pipe that nobody reads is an error, not a wait for a reader.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let options = || OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).to_owned();
    let named = |e: io::Error| io::Error::new(e.kind(), format!("log file {}: {e}", path.display()));
    let file = match options().open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).map_err(named)?;
            options().open(path)
        }
        opened => opened,
    };
    file.map_err(named)
}

/// `x.log` becomes `x.log.gz`; whole or not at all. Left for the next time if another process is at it.
fn compress(path: &Path) -> io::Result<()> {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut input = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    if flock(&input, FlockOperation::NonBlockingLockExclusive).is_err() || !same(&input, path) {
        return Ok(());
    }
    let temporary = with(".gz.tmp");
    let output = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let mut encoder = GzEncoder::new(output, Compression::fast());
    io::copy(&mut input, &mut encoder)?;
    encoder.finish()?;
    // Two files rotated in the same millisecond may have met here: both stay, one of them as it is.
    match renameat_with(CWD, &temporary, CWD, with(".gz"), RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => fs::remove_file(&temporary),
        renamed => renamed.map_err(Into::into).and_then(|()| gone_is_fine(fs::remove_file(path))),
    }
}

#[cfg(test)]
mod tests;
