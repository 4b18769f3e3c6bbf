//! An index of a network's reservations, so that an ADD or DEL among thousands need not read thousands of files.
//!
//! The reservation files are the truth; the index is a copy that says itself whether it may be believed. It is a log: records that add and
//! remove addresses, after each change a commit. A commit holds a checksum of everything before it and a time, and the time is then set as
//! the directory's mtime: a time in the past, so whoever creates or removes a file there later (the Go plugin, an administrator, a process
//! of ours killed half-way) changes it, and the index is no longer believed. Then all files are read once and the index is written anew.
//! Every use is under the network's lock.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};

/// Beside the reservations; the name is hidden, and no content of it can be taken for an owner by the Go plugin, which reads every file.
const NAME: &str = ".plexus-index";

/// The first record.
const MAGIC: Record = *b"plexus host-local index\r\nv1\n\0\0\0\0";

/// Address (IPv4 as ::ffff:a.b.c.d) in 16 bytes, owner in 8, what happened in 1. A commit has the checksum in the first 8 bytes and the
/// directory's mtime (nanoseconds) in the second. Big-endian.
type Record = [u8; 32];

const RESERVED: u8 = 1;
const RELEASED: u8 = 2;
const COMMIT: u8 = 3;

/// Removals are written as records too; when the log is this many times as long as what it says, it is written anew.
const GARBAGE: usize = 2;
/// A log shorter than this is never too long.
const SHORT: usize = 1024;

/// Who owns a reservation: a hash of the file's content. Whoever acts on a match reads the file first.
pub(super) type Owner = u64;

/// The owner that no content hashes to: the file could not be read, or is not a file.
pub(super) const UNKNOWN: Owner = 0;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Reserved(IpAddr, Owner),
    Released(IpAddr),
}

/// All reservations of a network.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    /// The log's records but for the last commit. They are looked through, not put into a map: one call asks for one owner and for one run of
    /// addresses, and building a map of 20,000 costs more than everything else.
    records: Vec<Record>,
    /// The log that holds `records`; none if it must be written anew.
    log: Option<Log>,
    window: RefCell<Window>,
}

/// Which addresses of a run are taken.
#[derive(Debug, Default)]
struct Window {
    first: u128,
    taken: Vec<bool>,
}

#[derive(Debug)]
struct Log {
    file: File,
    records: usize,
    checksum: u64,
}

/// Hashes a reservation file's content, trimmed as the Go plugin trims it (FNV-1a, 64 bits; never [`UNKNOWN`]).
pub(super) fn owner(content: &[u8]) -> Owner {
    let hash =
        content.iter().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    hash.max(1)
}

impl Index {
    /// The index of the network in `dir`, if there is one that may be believed.
    pub(super) fn load(path: &Path, dir: &File) -> Option<Index> {
        let path = path.join(NAME);
        let mtime = mtime(dir).ok()?;
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let file = File::options().read(true).write(true).custom_flags(no_follow).open(&path).ok()?;
        let length = usize::try_from(file.metadata().ok()?.len()).ok()?;
        if !length.is_multiple_of(size_of::<Record>()) {
            return None;
        }
        let mut records: Vec<Record> = vec![[0; 32]; length / size_of::<Record>()];
        file.read_exact_at(records.as_flattened_mut(), 0).ok()?;
        let checksum = believe(&mut records, mtime)?;
        let log = Log { file, records: records.len() + 1, checksum };
        Some(Index { path, records, log: Some(log), window: RefCell::default() })
    }

    /// For fuzzing: the log in `bytes`, as if it could be believed.
    pub(super) fn read_any(bytes: &[u8]) {
        let (records, _): (&[Record], _) = bytes.as_chunks();
        let commit: &Record = records.last().unwrap_or(&MAGIC);
        let mtime = commit[8..].first_chunk().map_or(0, |mtime| i128::from_be_bytes(*mtime));
        let _ = believe(&mut records.to_vec(), mtime);
        let index = Index { path: PathBuf::new(), records: records.to_vec(), log: None, window: RefCell::default() };
        for (ip, owner) in index.all() {
            assert!(index.contains(ip) && index.owned_by(owner).contains(&ip));
        }
    }

    /// An index of what was found by reading all files.
    pub(super) fn new(path: &Path, found: impl IntoIterator<Item = (IpAddr, Owner)>) -> Index {
        let records = found.into_iter().map(|(ip, owner)| record(Change::Reserved(ip, owner))).collect();
        Index { path: path.join(NAME), records, log: None, window: RefCell::default() }
    }

    /// Somebody has the address.
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        let key = key(ip);
        let taken = |w: &Window| {
            let at = key.checked_sub(w.first).and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| w.taken.get(at).copied())
        };
        let mut window = self.window.borrow_mut();
        if let Some(taken) = taken(&window) {
            return taken;
        }
        // As long as the log, so whoever asks for one address after the other finds a free one before its end.
        *window = Window { first: key, taken: vec![false; self.records.len() + 1] };
        for (key, _, what) in self.changes() {
            let at = key.checked_sub(window.first).and_then(|at| usize::try_from(at).ok());
            if let Some(taken) = at.and_then(|at| window.taken.get_mut(at)) {
                *taken = what == RESERVED;
            }
        }
        taken(&window).unwrap_or_default()
    }

    /// Every reservation.
    pub(super) fn all(&self) -> BTreeMap<IpAddr, Owner> {
        let mut all = BTreeMap::new();
        for (key, owner, what) in self.changes() {
            let ip = Ipv6Addr::from_bits(key).to_canonical();
            if what == RESERVED {
                all.insert(ip, owner)
            } else {
                all.remove(&ip)
            };
        }
        all
    }

    /// The addresses of an owner, in ascending order.
    pub(super) fn owned_by(&self, owner: Owner) -> Vec<IpAddr> {
        let mut keys: Vec<u128> = Vec::new();
        for (key, who, what) in self.changes() {
            if what == RESERVED && who == owner {
                keys.push(key);
            } else {
                keys.retain(|k| *k != key);
            }
        }
        let mut ips: Vec<IpAddr> = keys.into_iter().map(|key| Ipv6Addr::from_bits(key).to_canonical()).collect();
        ips.sort_unstable();
        ips.dedup();
        ips
    }

    /// Address, owner and what happened, oldest first.
    fn changes(&self) -> impl Iterator<Item = (u128, Owner, u8)> {
        let changes = self.records.iter().filter(|r| [RESERVED, RELEASED].contains(&r[24]));
        changes.map(|r| {
            let (halves, _) = r.as_chunks::<8>();
            let [high, low, owner, _] = [0, 1, 2, 3].map(|i| halves.get(i).map_or(0, |half| u64::from_be_bytes(*half)));
            (u128::from(high) << 64 | u128::from(low), owner, r[24])
        })
    }

    /// Notes changes that have been made to the files, and makes the index believable again.
    ///
    /// # Errors
    /// What the file system says. The index is then not believed by the next one; the reservations are not touched.
    pub(super) fn commit(&mut self, dir: &File, changes: &[Change]) -> io::Result<()> {
        if changes.is_empty() && self.log.is_some() {
            return Ok(());
        }
        let token = past();
        self.window = RefCell::default();
        let new = changes.iter().map(|c| record(*c));
        self.records.extend(new.clone());
        let reserved = self.records.iter().filter(|r| r[24] == RESERVED).count();
        let released = self.records.iter().filter(|r| r[24] == RELEASED).count();
        let needed = reserved.saturating_sub(released);
        let log = self.log.take().filter(|l| l.records + changes.len() < SHORT + GARBAGE * needed);
        let log = match log {
            Some(mut log) => {
                log.append(new, token)?;
                log
            }
            None => self.write_anew(token)?,
        };
        set_mtime(dir, token)?;
        self.log = Some(log);
        Ok(())
    }

    /// Not renamed into place but removed and created: a temporary file could stay behind when this process is killed.
    fn write_anew(&mut self, token: i128) -> io::Result<Log> {
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&self.path)?;
        let mut log = Log { file, records: 0, checksum: 0 };
        self.records = self.all().into_iter().map(|(ip, owner)| record(Change::Reserved(ip, owner))).collect();
        log.append(std::iter::once(MAGIC).chain(self.records.iter().copied()), token)?;
        Ok(log)
    }
}

/// Takes the last commit off a log that may be believed. The checksum of the whole.
fn believe(records: &mut Vec<Record>, mtime: i128) -> Option<u64> {
    let last = records.pop()?;
    if *records.first()? != MAGIC || last[24] != COMMIT || last[8..24] != mtime.to_be_bytes() {
        return None;
    }
    let sum = records.iter().fold(0, checksum);
    let known = records.iter().skip(1).all(|r| (RESERVED..=COMMIT).contains(&r[24]));
    (last[..8] == sum.to_be_bytes() && known).then(|| checksum(sum, &last))
}

impl Log {
    /// Writes records and a commit behind what is there, in one write.
    fn append(&mut self, records: impl Iterator<Item = Record>, token: i128) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut sum = self.checksum;
        let mut count = 0;
        for record in records {
            sum = checksum(sum, &record);
            bytes.extend_from_slice(&record);
            count += 1;
        }
        let mut commit: Record = [0; 32];
        commit[..8].copy_from_slice(&sum.to_be_bytes());
        commit[8..24].copy_from_slice(&token.to_be_bytes());
        commit[24] = COMMIT;
        bytes.extend_from_slice(&commit);
        self.file.write_all_at(&bytes, (self.records * size_of::<Record>()) as u64)?;
        self.records += count + 1;
        self.checksum = checksum(sum, &commit);
        Ok(())
    }
}

/// The address as a number; IPv4 as ::ffff:a.b.c.d, which no IPv6 address here is.
fn key(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn record(change: Change) -> Record {
    let (ip, owner, what) = match change {
        Change::Reserved(ip, owner) => (ip, owner, RESERVED),
        Change::Released(ip) => (ip, UNKNOWN, RELEASED),
    };
    let mut record: Record = [0; 32];
    record[..16].copy_from_slice(&key(ip).to_be_bytes());
    record[16..24].copy_from_slice(&owner.to_be_bytes());
    record[24] = what;
    record
}

/// Chains a record to the checksum of those before it. Not against malice (who may write here may do anything), against torn writes: a
/// change of one word changes the sum, since the factors are odd.
fn checksum(sum: u64, record: &Record) -> u64 {
    const FACTORS: [u64; 4] =
        [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];
    let (words, _) = record.as_chunks::<8>();
    let word = |(word, factor): (&[u8; 8], u64)| u64::from_be_bytes(*word).wrapping_mul(factor);
    mix(sum, words.iter().zip(FACTORS).map(word).fold(0, u64::wrapping_add))
}

fn mix(sum: u64, word: u64) -> u64 {
    let product = u128::from(sum ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93_u128;
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    let folded = (product as u64) ^ ((product >> 64) as u64);
    folded.rotate_left(23) ^ word
}

/// A time that the kernel will not write by itself, now or later: the clock's, one second ago, to the nanosecond. In nanoseconds.
fn past() -> i128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i128::try_from(now.as_nanos()).unwrap_or_default() - 1_000_000_000
}

fn mtime(dir: &File) -> io::Result<i128> {
    let stat = rustix::fs::fstat(dir)?;
    Ok(i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec))
}

fn set_mtime(dir: &File, token: i128) -> io::Result<()> {
    let (sec, nsec) = (token.div_euclid(1_000_000_000), token.rem_euclid(1_000_000_000));
    let time = |n| i64::try_from(n).unwrap_or_default();
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: time(sec), tv_nsec: time(nsec) },
    };
    Ok(rustix::fs::futimens(dir, &times)?)
}

#[cfg(test)]
mod tests;
