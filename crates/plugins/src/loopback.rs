//! `loopback`: brings the container's `lo` up.

use cni::{Call, CniResult, Error, Interface, Invoke, IpConfig, Result};
use netlink::{LinkChange, Netns};

use crate::{Plugin, kernel};

/// The plugin of type `loopback`.
#[derive(Debug)]
pub struct Loopback;

/// The interface, whatever CNI_IFNAME says.
const LO: &str = "lo";

impl Plugin for Loopback {
    fn name(&self) -> &'static str {
        "loopback"
    }

    fn add(&self, call: &Call, _delegates: &dyn Invoke) -> Result<CniResult> {
        let version = call.version()?;
        let prev = call.prev_result()?;
        let mut rtnl = Netns::open(&call.netns).and_then(|n| n.rtnl()).map_err(kernel)?;
        let lo = rtnl.link(LO).map_err(kernel)?;
        let up = |up| LinkChange { up: Some(up), ..LinkChange::default() };
        if !lo.up {
            rtnl.change_link(lo.index, &up(true)).map_err(kernel)?;
        }
        let addresses = rtnl.addresses(lo.index).map_err(kernel).and_then(|addresses| {
            let addresses: Vec<_> = addresses.into_iter().map(|a| a.address).collect();
            match addresses.iter().find(|a| !a.addr().is_loopback()) {
                None => Ok(addresses),
                Some(foreign) => Err(Error::internal(format!(
                    "loopback interface found with non-loopback address \"{}\"",
                    foreign.addr()
                ))
                .with_details(format!("remove it: ip address del {foreign} dev lo"))),
            }
        });
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(e) => {
                if !lo.up {
                    // The error above is the one to report.
                    let _ = rtnl.change_link(lo.index, &up(false));
                }
                return Err(e);
            }
        };
        if let Some(prev) = prev {
            return Ok(prev);
        }
        let mut result = CniResult::empty(version);
        result.interfaces.push(Interface {
            name: LO.into(),
            mac: "00:00:00:00:00:00".into(),
            sandbox: call.netns.clone(),
            ..Interface::default()
        });
        for v4 in [true, false] {
            let first = addresses.iter().find(|a| a.addr().is_ipv4() == v4);
            result.ips.extend(first.map(|address| IpConfig { interface: Some(0), address: *address, gateway: None }));
        }
        Ok(result)
    }

    fn del(&self, call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        if call.netns.is_empty() {
            return Ok(());
        }
        let netns = match Netns::open(&call.netns) {
            Err(e) if e.is_missing() => return Ok(()),
            other => other.map_err(kernel)?,
        };
        let mut rtnl = netns.rtnl().map_err(kernel)?;
        let lo = rtnl.link(LO).map_err(kernel)?;
        if lo.up {
            let down = LinkChange { up: Some(false), ..LinkChange::default() };
            rtnl.change_link(lo.index, &down).map_err(kernel)?;
        }
        Ok(())
    }

    fn check(&self, call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        let mut rtnl = Netns::open(&call.netns).and_then(|n| n.rtnl()).map_err(kernel)?;
        let lo = rtnl.link(LO).map_err(kernel)?;
        if lo.up { Ok(()) } else { Err(Error::internal("loopback interface is down")) }
    }
}
