//! CHECK of the bridge plugin: the attachment is as `prevResult` says.

use cni::{Call, Error, Invoke, Result};
use netlink::Rtnl;

use super::conf::Conf;
use super::host::require_bridge;
use crate::interface::{self, check};
use crate::{ipam, kernel};

pub(super) fn check(call: &Call, delegates: &dyn Invoke) -> Result<()> {
    let conf = Conf::read(call)?;
    let netns = interface::open_netns(call)?;
    ipam::check(call, delegates)?;
    let result = check::required_prev_result(call)?;
    let (number, container) = check::in_result(call, &result)?;

    let mut rtnl = Rtnl::open().map_err(kernel)?;
    let bridge = rtnl.link(&conf.bridge).map_err(kernel)?;
    require_bridge(&bridge)?;
    let on_host = || result.interfaces.iter().filter(|i| i.sandbox.is_empty());
    let reported = on_host().find(|i| i.name == conf.bridge).ok_or_else(|| {
        Error::internal(format!("prevResult has no interface \"{}\" (the bridge) on the host", conf.bridge))
    })?;
    check::mac(reported, &bridge)?;
    // A bridge shared with others may be promiscuous for their sake, so only the want of it is an error.
    if conf.promisc && !bridge.promisc {
        return Err(Error::internal(format!("bridge \"{}\" is not promiscuous as \"promiscMode\" asks", bridge.name)));
    }

    let link = interface::inside(&netns, |rtnl| check::link(rtnl, "veth", (number, container), &result))?;
    for host_end in on_host().filter(|i| i.name != conf.bridge) {
        let Ok(host) = rtnl.link(&host_end.name) else { continue };
        if host.kind == "veth" && host.parent == Some(link.index) && link.parent == Some(host.index) {
            if host.master != Some(bridge.index) {
                return Err(Error::internal(format!(
                    "\"{}\", the host's end of \"{}\", is not a port of bridge \"{}\"",
                    host.name, link.name, bridge.name
                )));
            }
            return check::mac(host_end, &host);
        }
    }
    Err(Error::internal(format!(
        "no interface of prevResult on the host is the other end of \"{}\": the link was replaced; delete and add the attachment again",
        link.name
    )))
}
