use std::cell::RefCell;
use std::collections::HashMap;

use cni::Call;
use proptest::prelude::*;

use super::*;
use crate::testing;

/// A network's state, in memory; counts questions.
#[derive(Default)]
struct Fake {
    taken: Vec<IpAddr>,
    last: HashMap<usize, IpAddr>,
    asked: RefCell<usize>,
}

impl Taken for Fake {
    fn contains(&self, ip: IpAddr) -> bool {
        *self.asked.borrow_mut() += 1;
        self.taken.contains(&ip)
    }

    fn last(&self, set: usize) -> Option<IpAddr> {
        self.last.get(&set).copied()
    }
}

fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

fn config(ipam: &str, args: &str) -> Config {
    let conf = format!(r#"{{"cniVersion": "1.0.0", "name": "net", "ipam": {ipam}}}"#);
    let call = Call { args: args.into(), ..testing::call(conf) };
    Config::load(&call).unwrap()
}

fn chosen(config: &Config, taken: &Fake) -> Result<Vec<String>, String> {
    match choose(config, taken, &[], "id") {
        Ok(choices) => Ok(choices.iter().map(|c| format!("{} via {}", c.address, c.gateway)).collect()),
        Err(e) => Err(e.message),
    }
}

#[test]
fn one_address_of_each_set() {
    let config = config(r#"{"ranges": [[{"subnet": "10.0.0.0/29"}], [{"subnet": "2001:db8::/64"}]]}"#, "");
    let fresh = Fake::default();
    assert_eq!(chosen(&config, &fresh).unwrap(), ["10.0.0.2/29 via 10.0.0.1", "2001:db8::2/64 via 2001:db8::1"]);
    let used = Fake {
        taken: ["10.0.0.4", "10.0.0.5"].map(ip).to_vec(),
        last: HashMap::from([(0, ip("10.0.0.3")), (1, ip("2001:db8::ff"))]),
        ..Fake::default()
    };
    assert_eq!(chosen(&config, &used).unwrap(), ["10.0.0.6/29 via 10.0.0.1", "2001:db8::100/64 via 2001:db8::1"]);
}

#[test]
fn requests() {
    let ranges = r#"{"ranges": [[{"subnet": "10.0.0.0/29"}, {"subnet": "10.1.0.0/24", "gateway": "10.1.0.9"}],
        [{"subnet": "2001:db8::/64"}]]}"#;
    let fresh = Fake::default();
    assert_eq!(
        chosen(&config(ranges, "IP=10.1.0.7"), &fresh).unwrap(),
        ["10.1.0.7/24 via 10.1.0.9", "2001:db8::2/64 via 2001:db8::1"]
    );
    // The prefix length does not count.
    assert_eq!(chosen(&config(ranges, "IP=10.1.0.7/30"), &fresh).unwrap()[0], "10.1.0.7/24 via 10.1.0.9");
    assert_eq!(
        chosen(&config(ranges, "IP=10.1.0.9"), &fresh).unwrap_err(),
        "failed to allocate for range 0: requested ip 10.1.0.9 is subnet's gateway"
    );
    assert_eq!(
        chosen(&config(ranges, "IP=192.0.2.1"), &fresh).unwrap_err(),
        "failed to allocate all requested IPs: 192.0.2.1"
    );
    // Before the range's start, and behind its end.
    for outside in ["10.0.0.0", "10.0.0.7"] {
        let message = format!("failed to allocate all requested IPs: {outside}");
        assert_eq!(chosen(&config(ranges, &format!("IP={outside}")), &fresh).unwrap_err(), message);
    }
    let taken = Fake { taken: vec![ip("10.0.0.5")], ..Fake::default() };
    assert_eq!(
        chosen(&config(ranges, "IP=10.0.0.5"), &taken).unwrap_err(),
        "failed to allocate for range 0: requested IP address 10.0.0.5 is not available in range set \
         10.0.0.1-10.0.0.6,10.1.0.1-10.1.0.254"
    );
}

#[test]
fn exhausted() {
    let config = config(r#"{"subnet": "10.0.0.0/30"}"#, "");
    let full = Fake { taken: vec![ip("10.0.0.2")], last: HashMap::from([(0, ip("10.0.0.2"))]), ..Fake::default() };
    let message = "failed to allocate for range 0: no IP addresses available in range set: 10.0.0.1-10.0.0.2";
    assert_eq!(chosen(&config, &full).unwrap_err(), message);
}

#[test]
fn a_second_address_of_one_set_is_refused() {
    let config = config(r#"{"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.1.0.0/24"}]]}"#, "");
    let error = |owned| choose(&config, &Fake::default(), &[ip(owned)], "id").unwrap_err().message;
    assert_eq!(
        error("10.1.0.8"),
        "failed to allocate for range 1: 10.1.0.8 has been allocated to id, duplicate allocation is not allowed"
    );
    // An address that no range holds any more does not count.
    assert!(choose(&config, &Fake::default(), &[ip("192.0.2.1")], "id").is_ok());
}

proptest! {
    /// What is chosen is free, and the first such behind the last address; a free address is found whenever there is one, with no more
    /// questions than there are addresses.
    #[test]
    fn the_next_free_address(taken in prop::collection::btree_set(1u8..=14, 0..=14), last in prop::option::of(0u8..20)) {
        let config = config(r#"{"subnet": "10.0.0.0/28"}"#, "");
        let host = |n: u8| IpAddr::from([10, 0, 0, n]);
        let fake = Fake {
            taken: taken.iter().copied().map(host).collect(),
            last: last.map(|n| (0, host(n))).into_iter().collect(),
            ..Fake::default()
        };
        let from = last.filter(|n| (1..=14).contains(n)).unwrap_or(0);
        let expected = (from + 1..=14).chain(1..=from).find(|n| *n != 1 && !taken.contains(n));
        let got = choose(&config, &fake, &[], "id");
        prop_assert_eq!(got.ok().map(|c| c[0].address.addr()), expected.map(host));
        prop_assert!(*fake.asked.borrow() <= 14);
    }
}
