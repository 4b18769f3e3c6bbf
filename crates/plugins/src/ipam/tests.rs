use std::cell::RefCell;

use cni::{IpConfig, Version};

use super::*;
use crate::testing;

/// Notes what it is called with; ADD gives these addresses.
#[derive(Default)]
struct Fake {
    ips: Vec<&'static str>,
    refuses: bool,
    calls: RefCell<Vec<String>>,
}

impl Invoke for Fake {
    fn invoke(&self, plugin: &str, call: &Call) -> Result<Option<CniResult>> {
        self.calls.borrow_mut().push(format!("{plugin} {}", call.command.as_str()));
        if self.refuses {
            return Err(Error::new(Code(117), "refused"));
        }
        let ip = |ip: &&str| IpConfig { interface: None, address: ip.parse().unwrap(), gateway: None };
        let mut result = CniResult::empty(Version::CURRENT);
        result.ips = self.ips.iter().map(ip).collect();
        Ok((call.command == Command::Add).then_some(result))
    }
}

impl Fake {
    fn calls(&self) -> Vec<String> {
        self.calls.take()
    }
}

fn call(ipam: &str) -> Call {
    testing::call(format!(r#"{{"cniVersion": "1.1.0", "name": "net", "ipam": {ipam}}}"#))
}

const IPAM: &str = r#"{"type": "some-ipam"}"#;

#[test]
fn a_lease_goes_back_unless_it_is_kept() {
    let (call, fake) = (call(IPAM), Fake { ips: vec!["10.0.0.2/24"], ..Fake::default() });
    let lease = acquire(&call, &fake).unwrap();
    assert_eq!(lease.result().ips.len(), 1);
    assert_eq!(fake.calls(), ["some-ipam ADD"]);
    drop(lease);
    assert_eq!(fake.calls(), ["some-ipam DEL"]);
    assert_eq!(acquire(&call, &fake).unwrap().keep().ips.len(), 1);
    assert_eq!(fake.calls(), ["some-ipam ADD"]);
    assert_eq!(add(&call, &fake).unwrap().ips.len(), 1);
    assert_eq!(fake.calls(), ["some-ipam ADD"]);
}

#[test]
fn no_address_is_an_error_and_goes_back() {
    let fake = Fake::default();
    let error = add(&call(IPAM), &fake).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::INTERNAL, "IPAM plugin returned missing IP config"));
    assert_eq!(fake.calls(), ["some-ipam ADD", "some-ipam DEL"]);
}

#[test]
fn a_delegate_that_refuses_keeps_what_the_container_had() {
    let fake = Fake { refuses: true, ..Fake::default() };
    assert_eq!(add(&call(IPAM), &fake).unwrap_err(), Error::new(Code(117), "refused"));
    assert_eq!(fake.calls(), ["some-ipam ADD"]);
    for forwarded in [del, check, status, gc] {
        assert_eq!(forwarded(&call(IPAM), &fake).unwrap_err().code, Code(117));
    }
    assert_eq!(fake.calls(), ["some-ipam DEL", "some-ipam CHECK", "some-ipam STATUS", "some-ipam GC"]);
}

#[test]
fn without_a_delegate() {
    let fake = Fake::default();
    for none in ["null", "{}", r#"{"type": ""}"#, r#"{"type": null}"#] {
        assert_eq!(delegate(&call(none)).unwrap(), None);
        for forwarded in [del, check, status, gc] {
            forwarded(&call(none), &fake).unwrap();
        }
        assert_eq!(add(&call(none), &fake).unwrap_err().code, Code::INVALID_CONFIG);
    }
    for wrong in ["5", "[]", r#""host-local""#, r#"{"type": 5}"#, r#"{"type": ["host-local"]}"#] {
        assert_eq!(add(&call(wrong), &fake).unwrap_err().code, Code::DECODE, "{wrong}");
    }
    assert!(fake.calls().is_empty());
}

/// A defect that there was: a DEL called itself until its stack was full.
#[test]
fn a_plugin_that_makes_interfaces_is_no_ipam_plugin() {
    let mut main: Vec<&str> = crate::Registry::names().filter(|n| !["host-local", "static"].contains(n)).collect();
    main.sort_unstable();
    assert_eq!(MAIN.as_slice(), main);
    for plugin in MAIN {
        let (call, fake) = (call(&format!(r#"{{"type": "{plugin}"}}"#)), Fake::default());
        for error in [add(&call, &fake), check(&call, &fake).and_then(|()| add(&call, &fake))].map(Result::unwrap_err) {
            assert_eq!(error.code, Code::INVALID_CONFIG, "{error}");
            assert!(error.message.contains("ipam.type") && error.message.contains(plugin), "{error}");
        }
        assert_eq!(status(&call, &fake).unwrap_err().code, Code::INVALID_CONFIG);
        del(&call, &fake).unwrap();
        gc(&call, &fake).unwrap();
        assert_eq!(fake.calls(), [""; 0]);
    }
}
