//! `host-local`: addresses from ranges, kept in files on this node.
//!
//! The directory is the Go plugin's, byte for byte, so that both can work on one node. Ours differs in what nobody can rely on: a kill
//! leaves nothing half-made, DEL works whatever the ranges say, GC gives back what belongs to nobody, a request that fails changes nothing,
//! and it does not read every file of the network each time.

mod config;
mod index;
mod plan;
mod range;
mod store;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::{Call, CniResult, Code, Error, Invoke, IpConfig, Json, Result};

use crate::Plugin;
use config::Config;
use plan::{Taken, choose};
use store::{Reserved, Store};

/// The plugin of type `host-local`.
#[derive(Debug)]
pub struct HostLocal;

impl Plugin for HostLocal {
    fn name(&self) -> &'static str {
        "host-local"
    }

    fn state_dirs(&self, conf: &Json) -> Vec<PathBuf> {
        config::data_dir(conf).map(Path::to_owned).into_iter().collect()
    }

    fn validate(&self, call: &Call) -> Result<()> {
        config::directory(call)?;
        Config::load(call).map(drop)
    }

    fn add(&self, call: &Call, _delegates: &dyn Invoke) -> Result<CniResult> {
        let dir = config::directory(call)?;
        let config = Config::load(call)?;
        let version = call.version()?;
        let Some(mut store) = Store::open(&dir, true)? else {
            return Err(Error::internal(format!("host-local: \"{}\" vanished while it was made", dir.display())));
        };
        let key = key(call);
        // The second round is after somebody who does not take the lock changed the reservations from under us: took an address, or gave one
        // back so soon after a use of the index that the directory's mtime does not show it.
        for round in 0..2 {
            let owned = owned_in_any_form(&store, call);
            let choices = match choose(&config, &store, &owned, &call.container_id) {
                Err(_) if round == 0 && store.is_from_index() => {
                    store.read_all()?;
                    continue;
                }
                chosen => chosen?,
            };
            let ips: Vec<IpAddr> = choices.iter().map(|c| c.address.addr()).collect();
            if store.reserve(&key, &ips)? == Reserved::All {
                let mut result = CniResult::empty(version);
                let ip = |c: plan::Choice| IpConfig { interface: None, address: c.address, gateway: Some(c.gateway) };
                result.ips = choices.into_iter().map(ip).collect();
                result.routes = config.routes;
                result.dns = config.dns;
                return Ok(result);
            }
        }
        Err(Error::internal(format!(
            "host-local: addresses in \"{}\" are taken by a process that does not lock it",
            dir.display()
        )))
    }

    fn del(&self, call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        let Some(mut store) = Store::open(&config::directory(call)?, false)? else { return Ok(()) };
        let owned = owned_by(&store, call);
        store.release(&owned)
    }

    fn check(&self, call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        let dir = config::directory(call)?;
        Config::load(call)?;
        let found = Store::open(&dir, false)?.is_some_and(|store| !owned_by(&store, call).is_empty());
        if found {
            return Ok(());
        }
        Err(Error::internal(format!("host-local: Failed to find address added by container {}", call.container_id))
            .with_details(format!("no file in \"{}\" names container and interface {}", dir.display(), call.ifname)))
    }

    fn status(&self, call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        let dir = config::directory(call)?;
        Config::load(call)?;
        // A full range is no reason: runtimes take the whole node out of service for an error here.
        let nearest = dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("."));
        let writable = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::access(nearest, writable).map_err(|e| {
            Error::new(Code::NOT_AVAILABLE, format!("host-local: cannot write to \"{}\": {e}", nearest.display()))
                .with_details(format!(
                    "reservations of this network are kept in \"{}\" (\"ipam.dataDir\")",
                    dir.display()
                ))
        })
    }

    fn gc(&self, call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        let Some(valid) = crate::Attachment::list(&call.conf)? else { return Ok(()) };
        let keys: std::collections::HashSet<String> =
            valid.into_iter().flat_map(|a| [format!("{}\r\n{}", a.container_id, a.ifname), a.container_id]).collect();
        let Some(mut store) = Store::open(&config::directory(call)?, false)? else { return Ok(()) };
        store.release_unless(|owner| keys.contains(owner))
    }
}

/// For fuzzing: the reader of the index.
pub(crate) fn read_any(bytes: &[u8]) {
    index::Index::read_any(bytes);
}

/// What a reservation of this attachment says.
fn key(call: &Call) -> String {
    format!("{}\r\n{}", call.container_id.trim(), call.ifname)
}

/// What the attachment has: reservations that name container and interface; only where there are none, those of old versions of the Go
/// plugin, which name the container alone.
fn owned_by(store: &Store, call: &Call) -> Vec<IpAddr> {
    let owned = store.owned_by(&key(call));
    if owned.is_empty() { store.owned_by(call.container_id.trim()) } else { owned }
}

/// What speaks against giving the attachment another address.
fn owned_in_any_form(store: &Store, call: &Call) -> Vec<IpAddr> {
    [store.owned_by(&key(call)), store.owned_by(call.container_id.trim())].concat()
}

impl Taken for Store {
    fn contains(&self, ip: IpAddr) -> bool {
        Store::contains(self, ip)
    }

    fn last(&self, set: usize) -> Option<IpAddr> {
        Store::last(self, set)
    }
}
