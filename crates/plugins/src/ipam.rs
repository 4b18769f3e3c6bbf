//! How a main plugin uses its IPAM delegate: the plugin that `ipam.type` names, with the whole configuration of the caller.
//!
//! Owns: calling the delegate with each command, and the guard that gives addresses back on every failure path of an ADD.

pub(crate) mod conf;

use cni::{Call, CniResult, Code, Command, Error, Invoke, Result, Version};

/// Plugins that are compiled in and make interfaces. As somebody's IPAM plugin they would call themselves without end, by the same `ipam.type`.
const MAIN: [&str; 5] = ["bridge", "flannel", "loopback", "macvlan", "passthru"];

/// The delegate's type: `ipam.type`; `None` where the configuration asks for no addresses.
///
/// # Errors
/// Code 6 if `ipam` or `ipam.type` has the wrong type; code 7 if it names a plugin of another kind.
pub fn delegate(call: &Call) -> Result<Option<&str>> {
    match named(call)? {
        Some(plugin) if MAIN.contains(&plugin) => Err(Error::config(format!(
            "key \"ipam.type\": \"{plugin}\" makes interfaces and gives no addresses: name an IPAM plugin (\"host-local\")"
        ))),
        named => Ok(named),
    }
}

fn named(call: &Call) -> Result<Option<&str>> {
    let wrong = |key: &str, want: &str| {
        Error::new(Code::DECODE, format!("key \"{key}\" of the network configuration must be {want}"))
    };
    let Some(ipam) = call.conf.get("ipam") else { return Ok(None) };
    if ipam.members().is_none() {
        return Err(wrong("ipam", "an object"));
    }
    let Some(plugin) = ipam.get("type") else { return Ok(None) };
    let plugin =
        plugin.as_str().ok_or_else(|| wrong("ipam.type", "a string (the name of an IPAM plugin, \"host-local\")"))?;
    Ok(Some(plugin).filter(|p| !p.is_empty()))
}

/// Whether the delegate is there and, as far as can be told without calling it, takes its configuration. For who makes something first that
/// stays when the ADD fails.
///
/// # Errors
/// What the delegate's ADD would say.
pub fn validate(call: &Call, delegates: &dyn Invoke) -> Result<()> {
    let Some(plugin) = delegate(call)? else { return Ok(()) };
    delegates.validate(plugin, &call.with_command(Command::Add))
}

/// ADD: the delegate's result.
///
/// A delegate whose ADD fails is not called again with DEL: it is all or nothing by itself, and where it refused because this attachment
/// has addresses already, a DEL would take them from a running container.
///
/// # Errors
/// The delegate's own; or `IPAM plugin returned missing IP config` (the originals' words) if it gives no address. Then it has been called
/// with DEL.
pub fn add(call: &Call, delegates: &dyn Invoke) -> Result<CniResult> {
    acquire(call, delegates).map(Lease::keep)
}

/// DEL: gives back what the attachment has. Nothing to do where the configuration has no `ipam.type`.
///
/// # Errors
/// The delegate's own.
pub fn del(call: &Call, delegates: &dyn Invoke) -> Result<()> {
    forward(Command::Del, call, delegates)
}

/// CHECK: the delegate still has the attachment's addresses.
///
/// # Errors
/// The delegate's own.
pub fn check(call: &Call, delegates: &dyn Invoke) -> Result<()> {
    forward(Command::Check, call, delegates)
}

/// STATUS: the delegate could serve an ADD.
///
/// # Errors
/// The delegate's own.
pub fn status(call: &Call, delegates: &dyn Invoke) -> Result<()> {
    forward(Command::Status, call, delegates)
}

/// GC: the delegate removes what belongs to no valid attachment.
///
/// # Errors
/// The delegate's own.
pub fn gc(call: &Call, delegates: &dyn Invoke) -> Result<()> {
    forward(Command::Gc, call, delegates)
}

fn forward(command: Command, call: &Call, delegates: &dyn Invoke) -> Result<()> {
    let plugin = match command {
        // No ADD got past such a name, so there is nothing to give back.
        Command::Del | Command::Gc => named(call)?.filter(|plugin| !MAIN.contains(plugin)),
        _ => delegate(call)?,
    };
    let Some(plugin) = plugin else { return Ok(()) };
    delegates.invoke(plugin, &call.with_command(command)).map(|_| ())
}

/// ADD, as a guard: unless [`Lease::keep`] is called, the addresses go back when it is dropped.
///
/// # Errors
/// As [`add`].
pub fn acquire<'a>(call: &'a Call, delegates: &'a dyn Invoke) -> Result<Lease<'a>> {
    let plugin =
        delegate(call)?.ok_or_else(|| Error::config("no IPAM plugin is configured: set \"ipam\": {\"type\": ...}"))?;
    let result = delegates.invoke(plugin, &call.with_command(Command::Add))?;
    let version = call.version()?;
    let mut lease = Lease { call, delegates, result: result.unwrap_or_else(|| CniResult::empty(version)), kept: false };
    if lease.result.ips.is_empty() {
        return Err(Error::internal("IPAM plugin returned missing IP config"));
    }
    if version < Version::V0_3_0 {
        // A delegate that runs as a program can say no more than its version; one in process must not either: routes of a family without
        // address, and all of a route but destination and next hop, are lost on the way.
        lease.result = lease.result.convert(version)?;
    }
    Ok(lease)
}

/// Addresses that an IPAM delegate gave for the ADD in progress.
#[must_use = "addresses are given back when this is dropped"]
pub struct Lease<'a> {
    call: &'a Call,
    delegates: &'a dyn Invoke,
    result: CniResult,
    kept: bool,
}

impl Lease<'_> {
    /// What the delegate gave: addresses, routes, name resolution.
    #[must_use]
    pub fn result(&self) -> &CniResult {
        &self.result
    }

    /// The ADD has succeeded: the addresses stay with the attachment.
    #[must_use]
    pub fn keep(mut self) -> CniResult {
        self.kept = true;
        let version = self.result.version;
        std::mem::replace(&mut self.result, CniResult::empty(version))
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // The error that ends the ADD is the one to report; this one can only be logged.
        if let Err(error) = del(self.call, self.delegates) {
            tracing::warn!(
                network = self.call.network(),
                container = self.call.container_id,
                interface = self.call.ifname,
                %error,
                "addresses could not be given back after a failed ADD; the runtime's DEL will try again"
            );
        }
    }
}

#[cfg(test)]
mod tests;
