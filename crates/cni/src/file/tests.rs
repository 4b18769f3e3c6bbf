use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

const BOTH: [Durability; 2] = [Durability::Cached, Durability::Synced];

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn writes_replace_what_was_there() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        // What a killed writer left, longer than what is written now.
        fs::write(temporary(&path), "left by a killed writer").unwrap();
        write_atomic(&path, b"one", 0o600, durability).unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), names(dir.path())), (&b"one"[..], vec!["f".to_owned()]));
        write_atomic(&path, b"", 0o600, durability).unwrap();
        assert_eq!((fs::read(&path).unwrap().len(), names(dir.path()).len()), (0, 1));
        assert_eq!(mode(&path), 0o600);
    }
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::create_dir(&path).unwrap();
    let error = write_atomic(&path, b"x", 0o600, Durability::Cached).unwrap_err();
    assert_eq!(error.code, Code::IO);
    assert!(error.message.starts_with(&format!("failed to write \"{}\": ", path.display())), "{error}");
    assert_eq!(names(dir.path()), ["f"]);

    assert!(write_atomic(&dir.path().join("missing/f"), b"x", 0o600, Durability::Synced).is_err());
    assert!(write_atomic(&dir.path().join("x".repeat(300)), b"x", 0o600, Durability::Cached).is_err());
    assert_eq!(names(dir.path()), ["f"]);
}

#[test]
fn a_planted_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(dir.path().join("victim"), "safe").unwrap();
    symlink(dir.path().join("victim"), temporary(&path)).unwrap();
    assert!(write_atomic(&path, b"x", 0o600, Durability::Cached).is_err());
    assert_eq!(fs::read(dir.path().join("victim")).unwrap(), b"safe");
    // The link itself was in the way; it is gone now.
    write_atomic(&path, b"x", 0o600, Durability::Cached).unwrap();
}

#[test]
fn only_one_creates() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("10.0.0.1");
        assert!(create_exclusive(&path, b"first", 0o644, durability).unwrap());
        assert!(!create_exclusive(&path, b"second", 0o644, durability).unwrap());
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"first"[..], 0o644));
        assert_eq!(names(dir.path()), ["10.0.0.1"]);
    }
    let dir = tempfile::tempdir().unwrap();
    let error = create_exclusive(&dir.path().join("missing/f"), b"", 0o600, Durability::Cached).unwrap_err();
    assert!(error.message.contains("failed to create") && error.message.contains("missing/f"), "{error}");
}

#[test]
fn where_there_is_no_o_tmpfile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    create_linked(&path, b"first", 0o600, Durability::Cached).unwrap();
    let again = create_linked(&path, b"second", 0o600, Durability::Cached).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!((fs::read(&path).unwrap().as_slice(), names(dir.path()).len()), (&b"first"[..], 1));
}

#[test]
fn eight_threads_create_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let create = |n: u8| create_exclusive(&path, &[n; 100], 0o600, Durability::Cached).unwrap().then_some(n);
    let created = std::thread::scope(|scope| {
        let create = &create;
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || create(n))).collect();
        threads.into_iter().filter_map(|t| t.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(created.len(), 1);
    assert_eq!(fs::read(&path).unwrap(), [created[0]; 100]);
}

#[test]
fn removing() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        assert!(!remove(&path, durability).unwrap());
        fs::write(&path, "").unwrap();
        fs::write(temporary(&path), "").unwrap();
        assert!(remove(&path, durability).unwrap());
        assert!(names(dir.path()).is_empty());
        fs::write(temporary(&path), "").unwrap();
        assert!(!remove(&path, durability).unwrap());
        assert!(names(dir.path()).is_empty());
        assert!(!remove(&dir.path().join("missing/f"), durability).unwrap());
        fs::create_dir(&path).unwrap();
        assert!(remove(&path, durability).unwrap_err().message.contains("failed to remove"));
    }
}

#[test]
fn reading() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    assert_eq!(read(&path, 10).unwrap(), None);
    assert_eq!(read(&path.join("f"), 10).unwrap(), None);
    fs::write(&path, "0123456789").unwrap();
    assert_eq!(read(&path, 10).unwrap().as_deref(), Some(&b"0123456789"[..]));
    assert!(read(&path, 9).unwrap_err().message.contains("longer than 9 bytes"));
    assert_eq!(read(dir.path(), 10).unwrap_err().code, Code::IO);
}

#[test]
fn a_name_that_is_too_long_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = |length| dir.path().join("n".repeat(length));
    write_atomic(&path(NAME_LIMIT), b"x", 0o600, Durability::Cached).unwrap();
    assert!(remove(&path(NAME_LIMIT), Durability::Cached).unwrap());
    assert!(write_atomic(&path(NAME_LIMIT + 1), b"x", 0o600, Durability::Cached).is_err());
    assert!(names(dir.path()).is_empty());
    // Its temporary file cannot be there, but it can.
    fs::write(path(255), "x").unwrap();
    assert!(remove(&path(255), Durability::Cached).unwrap());
    assert!(!remove(&path(256), Durability::Cached).unwrap());
    assert_eq!(read(&path(256), 10).unwrap(), None);
}

#[test]
fn directories() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    create_directory(&path, 0o700).unwrap();
    create_directory(&path, 0o700).unwrap();
    assert_eq!(mode(&path), 0o700);
    fs::write(path.join("f"), "").unwrap();
    assert!(create_directory(&path.join("f"), 0o700).unwrap_err().message.contains("failed to create the directory"));
}

#[test]
fn a_pipe_is_not_waited_for_and_the_null_device_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(read(&path, 10)));
    let error = receiver.recv_timeout(std::time::Duration::from_secs(10)).unwrap().unwrap_err();
    assert!(error.code == Code::IO && error.message.contains("not a regular file"), "{error}");
    assert_eq!(read(Path::new("/dev/null"), 10).unwrap().as_deref(), Some(&b""[..]));
}
