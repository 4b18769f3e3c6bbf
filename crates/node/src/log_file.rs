//! A log file that does not grow without end: rotated by size, old files removed by age and number, compressed.
//!
//! Names and rules are those of the logger that Multus uses, so either continues the other's files: `x.log` becomes
//! `x-2026-01-31T12-00-00.000.log`, and `.gz` behind it when compressed. Many short processes write to the same file: lines are appended in
//! one write each, and whoever rotates holds a lock on the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use attach::config::Log;
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{FlockOperation, flock};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A log file; opened when the first line is written.
pub(crate) struct LogFile {
    path: PathBuf,
    /// The open file and its size as far as this process knows.
    open: Option<(File, u64)>,
    /// In bytes.
    max_size: u64,
    /// 0: any number.
    max_backups: usize,
    /// 0: any age.
    max_age: Duration,
    compress: bool,
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
        }
    }

    /// Appends a line.
    pub(crate) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        let (mut file, mut size) = match self.open.take() {
            Some(open) => open,
            None => open(&self.path)?,
        };
        if size + length > self.max_size && size > 0 && self.rotate(&file)? {
            (file, size) = open(&self.path)?;
        }
        file.write_all(line)?;
        self.open = Some((file, size + length));
        Ok(())
    }

    /// Makes room; true if the path now leads to another file, whoever has done it.
    fn rotate(&self, full: &File) -> io::Result<bool> {
        if flock(full, FlockOperation::NonBlockingLockExclusive).is_err() {
            // Another process is at it.
            return Ok(false);
        }
        let ours = full.metadata()?;
        let is_ours = |m: fs::Metadata| (m.dev(), m.ino()) == (ours.dev(), ours.ino());
        if !self.path.metadata().is_ok_and(is_ours) {
            return Ok(true);
        }
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let time = time.trim_end_matches('Z').replace(':', "-");
        let (stem, extension) = self.name();
        fs::rename(&self.path, self.path.with_file_name(format!("{stem}-{time}{extension}")))?;
        self.tidy()?;
        Ok(true)
    }

    /// Removes and compresses rotated files. One that was not compressed for a reason of its time (a killed process) is compressed now.
    fn tidy(&self) -> io::Result<()> {
        let mut backups = self.backups()?;
        let keep = if self.max_backups == 0 { backups.len() } else { self.max_backups.min(backups.len()) };
        for old in backups.split_off(keep) {
            fs::remove_file(old)?;
        }
        for backup in backups {
            let modified = backup.metadata()?.modified()?;
            if !self.max_age.is_zero() && modified.elapsed().is_ok_and(|age| age > self.max_age) {
                fs::remove_file(backup)?;
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
            let path = entry?.path();
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

fn open(path: &Path) -> io::Result<(File, u64)> {
    let options = || OpenOptions::new().append(true).create(true).mode(0o600).to_owned();
    let named = |e: io::Error| io::Error::new(e.kind(), format!("log file {}: {e}", path.display()));
    let file = match options().open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).map_err(named)?;
            options().open(path)
        }
        opened => opened,
    };
    let file = file.map_err(named)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// `x.log` becomes `x.log.gz`; whole or not at all.
fn compress(path: &Path) -> io::Result<()> {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let temporary = with(".gz.tmp");
    let output = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let mut encoder = GzEncoder::new(output, Compression::fast());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    fs::rename(&temporary, with(".gz"))?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests;
