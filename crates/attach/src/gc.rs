//! GC: removes what belongs to no attachment that the runtime names, on every network.
//!
//! Owns: which records and cached attachments are stale, and which attachments of each network are valid. The runtime names the interfaces it
//! asked for; what we attached for each of them is in the records.

use std::collections::BTreeSet;

use cni::chain::{self, Attachment as Valid};
use cni::conf::NetworkList;
use cni::{Call, Command, Error, Result};

use crate::perform::Performer;
use crate::plan::Network;
use crate::record::Entry;
use crate::run::Attach;

/// The interface name of last resort for a DEL of what no record describes.
const USUAL_REQUEST: &str = "eth0";

/// Runs GC for the whole configuration.
pub(crate) fn run(attach: &Attach<'_>, performer: &Performer<'_>, call: &Call) -> Result<()> {
    let Some(valid) = Valid::list(&call.conf)? else {
        tracing::warn!(
            "GC without a list of valid attachments (key \"cni.dev/valid-attachments\"): nothing is removed"
        );
        return Ok(());
    };
    let mut errors = Vec::new();
    for stale in stale(performer, &valid)? {
        tracing::info!(
            "{}: interface {} is no longer valid: deleting its attachments",
            stale.container_id,
            stale.ifname
        );
        let del = Call {
            command: Command::Del,
            container_id: stale.container_id,
            netns: stale.netns,
            ifname: stale.ifname,
            args: String::new(),
            ..call.clone()
        };
        errors.extend(attach.del(&del).map_err(|e| e.context(format!("container {}", del.container_id))).err());
    }
    let configured = attach.configured().map(|n| n.networks).unwrap_or_else(|e| {
        errors.push(e);
        Vec::new()
    });
    let recorded = recorded(performer, &valid)?;
    for (list, role) in every_network(&configured, &recorded) {
        let valid = valid_of(performer, list, role, &valid, &recorded)?;
        let collected = chain::gc(list, Some(&valid), &performer.path, performer.delegates, &performer.cache);
        errors.extend(collected.map_err(|e| e.context(format!("network \"{}\"", list.name))).err());
    }
    Error::join(errors)
}

/// A request whose container, or whose interface of it, the runtime does not know any more.
#[derive(PartialEq)]
struct Stale {
    container_id: String,
    ifname: String,
    netns: String,
}

fn stale(performer: &Performer<'_>, valid: &[Valid]) -> Result<Vec<Stale>> {
    let container_is_valid = |id: &str| valid.iter().any(|v| v.container_id == id);
    let is_valid = |id: &str, ifname: &str| valid.iter().any(|v| v.container_id == id && v.ifname == ifname);
    let mut stale = Vec::new();
    let containers = performer.records.containers()?;
    for id in &containers {
        let record = performer.records.read(id, USUAL_REQUEST, &performer.cache)?;
        for entry in &record.entries {
            if !is_valid(id, &entry.request)
                && !stale.iter().any(|s: &Stale| s.container_id == *id && s.ifname == entry.request)
            {
                stale.push(Stale {
                    container_id: id.clone(),
                    ifname: entry.request.clone(),
                    netns: chain::lasting_netns(&entry.netns).to_owned(),
                });
            }
        }
        if record.entries.is_empty() && !container_is_valid(id) {
            stale.push(Stale { container_id: id.clone(), ifname: USUAL_REQUEST.to_owned(), netns: String::new() });
        }
    }
    // Attachments that only the cache knows: Multus forgets its record even where a DEL failed.
    for cached in performer.cache.attachments(None)? {
        let id = &cached.container_id;
        if container_is_valid(id) || containers.contains(id) || stale.iter().any(|s| s.container_id == *id) {
            continue;
        }
        let netns = chain::lasting_netns(&cached.netns).to_owned();
        let ifname = if cached.ifname.starts_with("net") { USUAL_REQUEST.to_owned() } else { cached.ifname };
        stale.push(Stale { container_id: id.clone(), ifname, netns });
    }
    Ok(stale)
}

/// What is recorded of valid containers, with the container.
fn recorded(performer: &Performer<'_>, valid: &[Valid]) -> Result<Vec<(String, Entry)>> {
    let mut recorded = Vec::new();
    for id in performer.records.containers()? {
        if valid.iter().any(|v| v.container_id == id) {
            let record = performer.records.read(&id, USUAL_REQUEST, &performer.cache)?;
            recorded.extend(record.entries.into_iter().map(|e| (id.clone(), e)));
        }
    }
    Ok(recorded)
}

/// What the configuration makes of a network.
#[derive(Clone, Copy)]
enum Role {
    /// The default network: it gets the runtime's interface name.
    Default,
    /// Another one, at this position.
    Secondary(usize),
    /// Only records know it.
    Former,
}

/// Each network once: those of the configuration, then those that only records know.
fn every_network<'a>(configured: &'a [Network], recorded: &'a [(String, Entry)]) -> Vec<(&'a NetworkList, Role)> {
    let mut seen = BTreeSet::new();
    let configured = configured.iter().enumerate();
    let configured =
        configured.map(|(i, n)| (&n.list, if i == 0 { Role::Default } else { Role::Secondary(n.position) }));
    let recorded = recorded.iter().map(|(_, e)| (&e.attachment.list, Role::Former));
    configured.chain(recorded).filter(|(list, _)| seen.insert(list.name.clone())).collect()
}

/// The valid attachments of one network: what is recorded and cached of valid containers. Of containers without a record (attached before
/// us, or their record is lost) what the configuration would give them, so that nothing living is collected.
fn valid_of(
    performer: &Performer<'_>,
    list: &NetworkList,
    role: Role,
    valid: &[Valid],
    recorded: &[(String, Entry)],
) -> Result<Vec<Valid>> {
    let mut found = BTreeSet::new();
    for (id, entry) in recorded.iter().filter(|(_, e)| e.attachment.list.name == list.name) {
        found.insert((id.clone(), entry.attachment.ifname.clone()));
    }
    for cached in performer.cache.attachments(None)? {
        if cached.network == list.name && valid.iter().any(|v| v.container_id == cached.container_id) {
            found.insert((cached.container_id, cached.ifname));
        }
    }
    for v in valid {
        let has_record = recorded.iter().any(|(id, e)| *id == v.container_id && e.request == v.ifname);
        match role {
            Role::Default => _ = found.insert((v.container_id.clone(), v.ifname.clone())),
            Role::Secondary(at) if !has_record => _ = found.insert((v.container_id.clone(), format!("net{at}"))),
            Role::Secondary(_) | Role::Former => {}
        }
    }
    Ok(found.into_iter().map(|(container_id, ifname)| Valid { container_id, ifname }).collect())
}
