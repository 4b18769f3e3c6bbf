//! What the meta-plugin needs from outside: plugins to run, and the links of a container's network namespace.

use std::net::IpAddr;
use std::path::PathBuf;

use cni::conf::PluginConf;
use cni::{Call, Invoke, Result, Route};

/// Runs delegates, and knows a little about them.
pub trait Delegates: Invoke {
    /// The plugin can be run: it is compiled in, or there is a program of its type in `path`. So can those that it runs itself (its IPAM
    /// plugin), where it is compiled in; what a program does with these keys is its own affair.
    ///
    /// # Errors
    /// If one is nowhere; the message says where it was searched.
    fn find(&self, plugin: &PluginConf, path: &[PathBuf]) -> Result<()>;

    /// The directories in which an ADD of this plugin leaves what outlives the machine's end. `None` where that cannot be told: a program's
    /// state is its own affair, and may be on another machine.
    fn state_dirs(&self, plugin: &PluginConf) -> Option<Vec<PathBuf>>;

    /// This DEL of this plugin removes the container's interface, and nothing of it needs the interface to be there. The interfaces of
    /// several such attachments can then be removed in one batch beforehand.
    fn owns_interface(&self, plugin: &str, del: &Call) -> bool;
}

/// The links in the network namespace of a container. `netns` is a path, as in `CNI_NETNS`.
pub trait PodLinks {
    /// The names of all links.
    ///
    /// # Errors
    /// If there is no such namespace.
    fn names(&self, netns: &str) -> Result<Vec<String>>;

    /// Removes links in one batch. Missing links, and a namespace that is gone, are no error.
    ///
    /// # Errors
    /// If the kernel refuses.
    fn remove(&self, netns: &str, names: &[&str]) -> Result<()>;

    /// Removes routes that lead out of `ifname`; each is told by destination, gateway and metric. Missing routes are no error.
    ///
    /// # Errors
    /// If there is no such link, or the kernel refuses.
    fn remove_routes(&self, netns: &str, ifname: &str, routes: &[Route]) -> Result<()>;

    /// Makes the route that leads out of `ifname` to `gateways` (all of one family, several share the traffic) the default route with this
    /// metric, in place of one that is there, and looks whether it is.
    ///
    /// # Errors
    /// If a gateway is on no network of the interface, or the kernel does something else.
    fn replace_default_route(&self, netns: &str, ifname: &str, gateways: &[IpAddr], metric: Option<u32>) -> Result<()>;
}
