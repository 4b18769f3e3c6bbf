use std::io::Read as _;

use attach::config::LogFormat;
use flate2::read::GzDecoder;

use super::*;

fn settings(max_backups: u32, compress: bool) -> Log {
    Log {
        file: None,
        level: String::new(),
        to_stderr: false,
        format: LogFormat::Text,
        max_age_days: 5,
        max_size_mb: 1,
        max_backups,
        compress,
    }
}

/// A log of 100 bytes, so that a test need not write megabytes.
fn small(path: &Path, log: &Log) -> LogFile {
    LogFile { max_size: 100, ..LogFile::new(path.to_owned(), log) }
}

fn names(dir: &Path) -> Vec<String> {
    let names = dir.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    if path.extension().is_some_and(|e| e == "gz") {
        GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    } else {
        text = fs::read_to_string(path).unwrap();
    }
    text
}

#[test]
fn megabytes_are_counted_and_zero_is_the_default() {
    let path = PathBuf::from("/x/y.log");
    assert_eq!(LogFile::new(path.clone(), &settings(5, true)).max_size, 1 << 20);
    assert_eq!(LogFile::new(path, &Log { max_size_mb: 0, ..settings(5, true) }).max_size, 100 << 20);
}

#[test]
fn a_full_file_is_rotated_and_no_line_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/plexus.log");
    let log = settings(0, true);
    let mut expected = String::new();
    for i in 0..40 {
        // Each line from a process of its own, as it were.
        let line = format!("line {i:02} .........................\n");
        small(&path, &log).write(line.as_bytes()).unwrap();
        expected.push_str(&line);
        // Names of rotated files have milliseconds.
        std::thread::sleep(Duration::from_millis(2));
    }
    let dir = path.parent().unwrap();
    let files = names(dir);
    assert_eq!(files.len(), 20, "3 lines of 34 bytes do not fit into 100: {files:?}");
    assert!(files[..19].iter().all(|f| f.starts_with("plexus-") && f.ends_with(".log.gz")), "{files:?}");
    let all: String = files.iter().map(|f| text(&dir.join(f))).collect();
    let mut sorted: Vec<&str> = all.lines().collect();
    sorted.sort_unstable();
    assert_eq!(sorted.join("\n") + "\n", expected);
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
}

#[test]
fn old_files_go_by_number_and_age_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let old = dir.path().join("x-2020-01-01T00-00-00.000.log");
    fs::write(&old, "old").unwrap();
    let ten_days_ago = SystemTime::now() - 10 * DAY;
    File::options().write(true).open(&old).unwrap().set_modified(ten_days_ago).unwrap();
    fs::write(dir.path().join("x-2021-01-01T00-00-00.000.log"), "left uncompressed by a killed process").unwrap();
    for other in ["x-notes.log", "xy-2020-01-01T00-00-00.000.log", "x-2020-01-01T00-00-00.000.txt"] {
        fs::write(dir.path().join(other), "not ours").unwrap();
    }
    let log = settings(3, true);
    let fill = || {
        let mut file = small(&path, &log);
        file.write(&[b'x'; 80]).unwrap();
        file.write(&[b'y'; 80]).unwrap();
    };
    fill();
    let files = names(dir.path());
    assert!(!old.exists(), "10 days old: {files:?}");
    assert!(files.contains(&"x-2021-01-01T00-00-00.000.log.gz".to_owned()), "{files:?}");
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(2));
        fill();
    }
    let files = names(dir.path());
    assert_eq!(files.iter().filter(|f| f.ends_with(".gz")).count(), 3, "{files:?}");
    assert!(!files.contains(&"x-2021-01-01T00-00-00.000.log.gz".to_owned()), "the oldest goes first: {files:?}");
    for other in ["x-notes.log", "xy-2020-01-01T00-00-00.000.log", "x-2020-01-01T00-00-00.000.txt"] {
        assert!(files.contains(&other.to_owned()), "{other} is not ours: {files:?}");
    }
}

#[test]
fn uncompressed_where_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plain");
    let mut file = small(&path, &settings(5, false));
    file.write(&[b'x'; 80]).unwrap();
    file.write(&[b'y'; 80]).unwrap();
    let files = names(dir.path());
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(files[0], "plain");
    assert_eq!(text(&dir.path().join(&files[1])), "x".repeat(80));
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("busy.log");
    let log = settings(0, true);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (path, log) = (&path, &log);
            scope.spawn(move || {
                for i in 0..50 {
                    small(path, log).write(format!("thread {thread} line {i:02}\n").as_bytes()).unwrap();
                }
            });
        }
    });
    let all: String = names(dir.path()).iter().map(|f| text(&dir.path().join(f))).collect();
    let lines: std::collections::BTreeSet<&str> = all.lines().collect();
    assert_eq!((all.lines().count(), lines.len()), (400, 400));
}

/// Runs `f`, which is to end; it is given ten seconds.
fn ends<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(f()));
    receiver.recv_timeout(Duration::from_secs(10)).unwrap()
}

/// A process that was stopped while it rotated, or while it wrote.
#[test]
fn a_lock_that_is_never_given_back_stops_nobody() {
    for held in [FlockOperation::LockExclusive, FlockOperation::LockShared] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut file = small(&path, &settings(5, true));
        file.write(&[b'a'; 80]).unwrap();
        let stopped = open(&path).unwrap();
        flock(&stopped, held).unwrap();
        let file = ends(move || {
            for letter in [b'b', b'c'] {
                file.write(&[letter; 80]).unwrap();
            }
            file
        });
        assert_eq!(names(dir.path()), ["x.log"], "nothing is rotated meanwhile");
        assert_eq!(text(&path).len(), 240);
        drop(stopped);
        let mut file = file;
        file.write(&[b'd'; 80]).unwrap();
        assert_eq!((names(dir.path()).len(), text(&path)), (2, "d".repeat(80)));
    }
}

#[test]
fn a_pipe_that_nobody_reads_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    rustix::fs::mkfifoat(CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let mut file = small(&path, &settings(5, true));
    ends(move || file.write(b"line").unwrap_err());
}
