use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn ip(n: u32) -> IpAddr {
    if n.is_multiple_of(3) {
        std::net::Ipv6Addr::from_bits(u128::from(n) << 64).into()
    } else {
        std::net::Ipv4Addr::from_bits(n).into()
    }
}

fn open(path: &Path) -> File {
    File::open(path).unwrap()
}

fn content(index: &Index) -> BTreeMap<IpAddr, Owner> {
    index.all()
}

#[test]
fn believed_until_somebody_else_changes_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = (dir.path(), open(dir.path()));
    assert!(Index::load(path, &file).is_none());
    let mut index = Index::new(path, [(ip(1), 7), (ip(3), 7), (ip(2), 8)]);
    index.commit(&file, &[]).unwrap();
    let mut index = Index::load(path, &file).unwrap();
    assert_eq!(index.owned_by(7), [ip(1), ip(3)]);
    assert!(index.contains(ip(2)) && !index.contains(ip(4)));
    index.commit(&file, &[Change::Released(ip(1)), Change::Reserved(ip(4), 9)]).unwrap();
    let index = Index::load(path, &file).unwrap();
    assert_eq!(content(&index), BTreeMap::from([(ip(2), 8), (ip(3), 7), (ip(4), 9)]));
    // Creating and removing both count.
    std::fs::write(path.join("10.0.0.1"), "x").unwrap();
    assert!(Index::load(path, &file).is_none());
    let mut index = index;
    index.commit(&file, &[Change::Reserved(ip(5), 9)]).unwrap();
    assert!(Index::load(path, &file).is_some());
    std::fs::remove_file(path.join("10.0.0.1")).unwrap();
    assert!(Index::load(path, &file).is_none());
}

#[test]
fn a_change_within_one_tick_of_the_clock_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = (dir.path(), open(dir.path()));
    for _ in 0..500 {
        Index::new(path, []).commit(&file, &[]).unwrap();
        assert!(Index::load(path, &file).is_some());
        std::fs::write(path.join("10.0.0.1"), "x").unwrap();
        assert!(Index::load(path, &file).is_none());
        std::fs::remove_file(path.join("10.0.0.1")).unwrap();
    }
}

#[test]
fn torn_or_damaged_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = (dir.path(), open(dir.path()));
    let mut index = Index::new(path, (1..20).map(|n| (ip(n), u64::from(n))));
    index.commit(&file, &[]).unwrap();
    index.commit(&file, &[Change::Released(ip(5))]).unwrap();
    let token = mtime(&file).unwrap();
    let whole = std::fs::read(path.join(NAME)).unwrap();
    let believed = |bytes: &[u8]| {
        std::fs::write(path.join(NAME), bytes).unwrap();
        set_mtime(&file, token).unwrap();
        Index::load(path, &file).is_some()
    };
    assert!(believed(&whole));
    for length in 0..whole.len() {
        assert!(!believed(&whole[..length]), "cut to {length} bytes");
    }
    for at in (0..whole.len()).filter(|at| at % 32 < 25) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert!(!believed(&damaged), "byte {at} changed");
    }
    assert!(!believed(&[whole.clone(), vec![0; 32]].concat()));
}

#[test]
fn the_log_does_not_grow_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = (dir.path(), open(dir.path()));
    let mut index = Index::new(path, [(ip(1), 1)]);
    for n in 0..5_000 {
        index.commit(&file, &[Change::Reserved(ip(2), n), Change::Released(ip(2))]).unwrap();
    }
    let length = std::fs::metadata(path.join(NAME)).unwrap().len();
    assert!(length <= 32 * (SHORT as u64 + 8), "{length} bytes");
    assert_eq!(content(&Index::load(path, &file).unwrap()), BTreeMap::from([(ip(1), 1)]));
}

#[test]
fn nothing_to_note_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = (dir.path(), open(dir.path()));
    let mut index = Index::new(path, []);
    index.commit(&file, &[]).unwrap();
    let before = (std::fs::read(path.join(NAME)).unwrap(), mtime(&file).unwrap());
    index.commit(&file, &[]).unwrap();
    assert_eq!((std::fs::read(path.join(NAME)).unwrap(), mtime(&file).unwrap()), before);
}

#[test]
fn no_reservation_reads_like_the_index() {
    // The Go plugin removes any file whose trimmed content is an owner; ours holds bytes that no id or interface name may.
    assert!(MAGIC.contains(&b' ') && MAGIC.contains(&0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// After any history, what is loaded is what a plain map would hold.
    #[test]
    fn the_index_is_a_map(history in prop::collection::vec(prop::collection::vec((0u32..40, prop::option::of(1u64..9)), 0..4), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let (path, file) = (dir.path(), open(dir.path()));
        let mut model = BTreeMap::new();
        let mut index = Index::new(path, []);
        for (i, changes) in history.into_iter().enumerate() {
            let changes: Vec<Change> = changes.into_iter().map(|(n, owner)| match owner {
                Some(owner) => { model.insert(ip(n), owner); Change::Reserved(ip(n), owner) }
                None => { model.remove(&ip(n)); Change::Released(ip(n)) }
            }).collect();
            index.commit(&file, &changes).unwrap();
            if i % 3 == 0 {
                index = Index::load(path, &file).unwrap();
            }
            prop_assert_eq!(content(&index), model.clone());
            for n in 0..40 {
                prop_assert_eq!(index.contains(ip(n)), model.contains_key(&ip(n)));
            }
            for owner in 1..9 {
                let owned: Vec<IpAddr> = model.iter().filter(|(_, o)| **o == owner).map(|(ip, _)| *ip).collect();
                prop_assert_eq!(index.owned_by(owner), owned);
            }
        }
        prop_assert_eq!(content(&Index::load(path, &file).unwrap()), model);
    }
}
