use super::*;

fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

fn open(path: &Path) -> Store {
    Store::open(path, true).unwrap().unwrap()
}

#[test]
fn a_lock_that_another_holds_is_waited_for_but_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let held = lock(&path, LOCK_WAIT).unwrap();
    let error = lock(&path, Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.code, Code::TRY_AGAIN);
    assert!(error.message.contains(path.to_str().unwrap()), "{error}");
    let waiting = std::thread::spawn({
        let path = path.clone();
        move || lock(&path, LOCK_WAIT).map(drop)
    });
    drop(held);
    waiting.join().unwrap().unwrap();
    // Whoever came too late has given it back.
    lock(&path, LOCK_WAIT).unwrap();
}

#[test]
fn taken_from_under_us_nothing_is_reserved_and_the_index_learns_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    fs::write(dir.path().join("10.0.0.3"), "foreign\r\neth0").unwrap();
    let both = [ip("10.0.0.2"), ip("10.0.0.3")];
    assert_eq!(store.reserve("a\r\neth0", &both).unwrap(), Reserved::Taken(ip("10.0.0.3")));
    assert!(!dir.path().join("10.0.0.2").exists());
    assert_eq!(store.last(0), None);
    assert!(store.contains(ip("10.0.0.3")) && !store.contains(ip("10.0.0.2")));
    assert_eq!(store.owned_by("foreign\r\neth0"), [ip("10.0.0.3")]);
}

#[test]
fn a_match_of_hashes_is_not_an_owner() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.reserve("a\r\neth0", &[ip("10.0.0.2")]).unwrap();
    // Written in place, which the directory does not tell; the index still has the old owner.
    fs::write(dir.path().join("10.0.0.2"), "b\r\neth0").unwrap();
    drop(store);
    assert!(open(dir.path()).owned_by("a\r\neth0").is_empty());
}

/// A power loss can leave the name and the index, but not the content.
#[test]
fn an_emptied_reservation_is_whose_the_index_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.reserve("a\r\neth0", &[ip("10.0.0.2")]).unwrap();
    fs::write(dir.path().join("10.0.0.2"), "").unwrap();
    drop(store);
    let mut store = open(dir.path());
    assert!(store.owned_by("b\r\neth0").is_empty());
    let owned = store.owned_by("a\r\neth0");
    assert_eq!(owned, [ip("10.0.0.2")]);
    store.release(&owned).unwrap();
    assert!(!store.contains(ip("10.0.0.2")) && !dir.path().join("10.0.0.2").exists());
}

#[test]
fn the_last_address_is_replaced_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for address in ["10.0.0.100", "10.0.0.9", "2001:db8::1"] {
        store.set_last(3, ip(address)).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("last_reserved_ip.3")).unwrap(), address);
        assert_eq!(store.last(3), Some(ip(address)));
    }
}

#[test]
fn a_release_that_fails_for_one_address_goes_on_with_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.reserve("a\r\neth0", &[ip("10.0.0.2"), ip("10.0.1.2")]).unwrap();
    // A directory cannot be unlinked.
    fs::remove_file(dir.path().join("10.0.0.2")).unwrap();
    fs::create_dir(dir.path().join("10.0.0.2")).unwrap();
    let error = store.release(&[ip("10.0.0.2"), ip("10.0.1.2")]).unwrap_err();
    assert!(error.message.contains("10.0.0.2"), "{error}");
    assert!(!dir.path().join("10.0.1.2").exists());
}
