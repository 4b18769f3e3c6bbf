//! One CNI call on the meta-plugin.
//!
//! Owns: what each command does with configuration, record, cache and plan. The steps themselves are in the files beside.

use std::time::{Duration, Instant};

use cni::cache::{self, Cache};
use cni::chain;
use cni::conf::{NetworkList, PluginConf};
use cni::file::Durability;
use cni::{Call, CniResult, Code, Command, Error, Json, Result};

use crate::cluster::{Cluster, Event, PodId};
use crate::devices::Devices;
use crate::devices::info::DeviceInfo;
use crate::perform::{Container, Performer};
use crate::plan::{self, delegate_args};
use crate::pod::{self, Resolver};
use crate::record::{Entry, Record, Records};
use crate::status::{self, Attached};
use crate::{Attachment, Config, Delegates, Plan, PodLinks, gc};

/// The meta-plugin.
pub struct Attach<'a> {
    /// Its configuration.
    pub config: &'a Config,
    /// Runs delegates.
    pub delegates: &'a dyn Delegates,
    /// The container's links.
    pub links: &'a dyn PodLinks,
    /// Kubernetes; absent where the configuration knows no API server, and then there are static networks only.
    pub cluster: Option<&'a dyn Cluster>,
    /// The devices of pods.
    pub devices: &'a dyn Devices,
    /// How long the default network may take to become ready.
    pub readiness: Readiness,
}

/// How the readiness indicator file is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    /// Time between two looks.
    pub interval: Duration,
    /// When to give up.
    pub timeout: Duration,
}

impl Default for Readiness {
    /// Multus waits 45 s, looking every second; a look costs nothing.
    fn default() -> Self {
        Readiness { interval: Duration::from_millis(100), timeout: Duration::from_secs(45) }
    }
}

/// What is known of the attachments that one DEL is for.
struct Known {
    /// The record as it was read.
    record: Record,
    /// Attachments of this request, in the order in which they were made.
    mine: Vec<Entry>,
    /// Attachments of other requests for the same container.
    others: Vec<Entry>,
    /// Attachments of the container that only the cache knows, where it was asked. The default network, if it is there, is the first.
    unrecorded: Vec<Entry>,
}

impl Attach<'_> {
    /// Performs a call. The result is the default network's, in the configuration's version.
    ///
    /// # Errors
    /// The delegates' own codes; messages say which attachment.
    pub fn run(&self, call: &Call) -> Result<Option<CniResult>> {
        match call.command {
            Command::Add => self.add(call).map(Some),
            Command::Del => self.del(call).map(|()| None),
            Command::Check => self.check(call).map(|()| None),
            Command::Status => self.status(call).map(|()| None),
            Command::Gc => self.gc(call).map(|()| None),
            Command::Version => {
                Err(Error::internal("VERSION is answered by the caller of a plugin, not by the plugin"))
            }
        }
    }

    fn add(&self, call: &Call) -> Result<CniResult> {
        let added = self.attach(call);
        if let (Err(error), Some(cluster)) = (&added, self.cluster) {
            self.report_failure(cluster, call, error);
        }
        added
    }

    /// The pod's event says what went wrong and what to do, where `kubectl describe pod` looks first.
    fn report_failure(&self, cluster: &dyn Cluster, call: &Call, error: &Error) {
        let Some(id) = delegate_args(&call.args).ok().and_then(|args| pod::id(&args)) else { return };
        // A server that is away, and a pod that is gone, take no events.
        if [Code::TRY_AGAIN, Code::UNKNOWN_CONTAINER].contains(&error.code) {
            return;
        }
        let event = Event { warning: true, reason: "FailedAddingInterface", message: error.to_string() };
        cluster.events(&id, &[event]);
    }

    fn attach(&self, call: &Call) -> Result<CniResult> {
        self.wait_until_ready()?;
        let plan = Plan::new(self.config, call, self.cluster, self.devices)?;
        let performer = self.performer(call);
        plan.check(&self.links.names(&call.netns)?, |plugin| self.delegates.find(plugin, &performer.path))?;

        let Known { mut mine, unrecorded, .. } = self.recorded(&performer, call)?;
        let (again, living): (Vec<Entry>, Vec<Entry>) =
            unrecorded.into_iter().partition(|e| plan.attachments.iter().any(|a| a.ifname == e.attachment.ifname));
        mine.extend(again);
        self.record_again(&performer, call, &plan, living)?;
        if !mine.is_empty() {
            // None of the interfaces is there, or the check above would have refused: an ADD that was killed and never deleted.
            tracing::info!("{}: undoing an earlier ADD that was not completed", call.container_id);
            let failed =
                performer.detach(Container { id: &call.container_id, netns: &call.netns }, &attachments(&mine));
            Error::join(failed.into_iter().map(|(_, e)| e))
                .map_err(|e| e.context("undoing an earlier ADD of this container"))?;
        }
        let results = performer.add(&plan)?;
        if let Err(e) = self.report(&plan, &results) {
            return Err(performer.undo(&plan, plan.attachments.len(), e));
        }
        let version = self.config.version;
        let result = results.into_iter().next().unwrap_or_else(|| CniResult::empty(version));
        match result.to_json(version) {
            Ok(_) => Ok(CniResult { version, ..result }),
            Err(e) => {
                let e = e.context(format!("the result of {} as version {version}", plan.attachments[0].describe()));
                Err(performer.undo(&plan, plan.attachments.len(), e))
            }
        }
    }

    /// DEL from the record; without one (or with one that cannot be read) from the cache and the configuration.
    pub(crate) fn del(&self, call: &Call) -> Result<()> {
        if let Some(file) = self.config.readiness_file.as_ref().filter(|f| !f.exists()) {
            tracing::warn!("readiness indicator file {} is not there: DEL goes on", file.display());
        }
        let performer = self.performer(call);
        let Known { record, mut mine, others, unrecorded } = self.recorded(&performer, call)?;
        mine.extend(unrecorded);
        let mut lost = None;
        let mut unmade = Vec::new();
        if mine.is_empty() || !record.problems.is_empty() {
            // Definitions are asked for only where it is known that something was attached: a DEL is not to fail for the API server's absence.
            let cluster = self.cluster.filter(|_| !record.problems.is_empty());
            match self.planned(call, cluster) {
                Ok(planned) => {
                    let known =
                        |e: &Entry| mine.iter().chain(&others).any(|k| k.attachment.ifname == e.attachment.ifname);
                    let unknown = planned.into_iter().filter(|e| !known(e));
                    if record.problems.is_empty() {
                        // No ADD gets past a missing plugin, so without a record nothing of such an attachment can be there.
                        unmade.extend(unknown.filter(|e| self.can_run(&performer, e)));
                    } else {
                        let unknown: Vec<Entry> = unknown.collect();
                        mine.extend(unknown);
                    }
                }
                // Nothing is attached before it is recorded, so nothing recorded means nothing attached. A damaged record means something
                // was: where the cache cannot tell what, or the API server may tell later, the DEL must come again.
                Err(e) if record.problems.is_empty() || !(mine.is_empty() || e.code == Code::TRY_AGAIN) => {
                    tracing::warn!(
                        "{}: no record, and the configuration cannot tell what to delete beside what the cache has: {e}",
                        call.container_id
                    );
                }
                Err(e) => {
                    lost =
                        Some(e.context(format!("the record cannot be read ({}), nor can", record.problems.join(", "))))
                }
            }
        }
        // An interface of that name is not ours: ours are recorded before they are made, and cached after. It was there before an ADD that was
        // refused for it. Without the namespace plugins free addresses and rules, and leave it alone.
        let errors = release(&performer, &call.container_id, &attachments(&unmade));
        let container = Container { id: &call.container_id, netns: &call.netns };
        let failed = performer.detach(container, &attachments(&mine));
        if lost.is_none() {
            let kept = mine.iter().enumerate().filter(|(i, _)| record.found && failed.iter().any(|(f, _)| f == i));
            let kept: Vec<&Entry> = kept.map(|(_, e)| e).collect();
            let saved = performer.records.update(
                &call.container_id,
                &call.ifname,
                &performer.cache,
                Durability::Synced,
                |entries| {
                    entries.retain(|e| e.request != call.ifname);
                    entries.extend(kept.iter().map(|e| (*e).clone()));
                },
            );
            lost = saved.err();
            if !record.problems.is_empty() {
                // What took the record's content may have taken the cache's, and then no attachment names those files.
                lost = lost.or(performer.cache.remove_empty(&call.container_id).err());
            }
        }
        Error::join(errors.into_iter().chain(failed.into_iter().map(|(_, e)| e)).chain(lost))
    }

    fn check(&self, call: &Call) -> Result<()> {
        let performer = self.performer(call);
        let Known { mut mine, unrecorded, .. } = self.recorded(&performer, call)?;
        mine.extend(unrecorded);
        if mine.is_empty() {
            mine = self.planned(call, self.cluster)?;
        }
        performer.check(Container { id: &call.container_id, netns: &call.netns }, &attachments(&mine))
    }

    fn status(&self, call: &Call) -> Result<()> {
        // A question, not an ADD: there is nothing to wait for, the runtime asks again.
        if let Some(file) = self.config.readiness_file.as_ref().filter(|f| !f.exists()) {
            return Err(not_ready(file, Code::NOT_AVAILABLE));
        }
        let networks = self.configured().map_err(|e| match self.config.cluster_network.as_str() {
            "" => e,
            _ => Error { code: Code::NOT_AVAILABLE, ..e },
        })?;
        let path = self.path(call);
        Error::join(networks.networks.iter().filter_map(|network| {
            let status = chain::status(&network.list, &path, self.delegates);
            status.err().map(|e| e.context(format!("network \"{}\"", network.list.name)))
        }))
    }

    fn gc(&self, call: &Call) -> Result<()> {
        self.wait_until_ready()?;
        gc::run(self, &self.performer(call), call)
    }

    /// Writes the pod's network status, and an event for each interface.
    fn report(&self, plan: &Plan, results: &[CniResult]) -> Result<()> {
        let (Some(cluster), Some(pod)) = (self.cluster, &plan.pod) else { return Ok(()) };
        let device_info = DeviceInfo::new(&self.config.device_info_dir);
        let infos = plan.attachments.iter().map(|attachment| {
            // A plugin may have written it, too, and the network works without.
            device_info.read(&attachment.capability_args).unwrap_or_else(|e| {
                tracing::warn!("{}: {e}", attachment.describe());
                None
            })
        });
        let infos: Vec<Option<Json>> = infos.collect();
        let attached: Vec<Attached<'_>> = plan
            .attachments
            .iter()
            .zip(results)
            .zip(&infos)
            .enumerate()
            .map(|(i, ((attachment, result), info))| Attached {
                name: attachment.status_name.as_deref().unwrap_or(&attachment.list.name),
                ifname: &attachment.ifname,
                result,
                default: i == 0,
                default_route: attachment.request.default_route.as_deref().unwrap_or_default(),
                device_info: info.as_ref(),
            })
            .collect();
        let events: Vec<Event> = attached.iter().filter_map(added_event).collect();
        let PodId { namespace, name, .. } = &pod.id;
        match cluster.report(&pod.id, &status::network_status(&attached), &events)? {
            Some(now) => pod.is_still_asked_for(&now),
            None => Err(Error::new(
                Code::UNKNOWN_CONTAINER,
                format!("pod {namespace}/{name} was deleted while its networks were attached"),
            )),
        }
    }

    /// The networks of the configuration, for calls that are about no pod.
    pub(crate) fn configured(&self) -> Result<plan::Networks> {
        let mut resolver = self.cluster.map(|cluster| Resolver::new(self.config, cluster));
        plan::networks(self.config, "", resolver.as_mut())
    }

    fn wait_until_ready(&self) -> Result<()> {
        let Some(file) = &self.config.readiness_file else { return Ok(()) };
        let start = Instant::now();
        while !file.exists() {
            if start.elapsed() >= self.readiness.timeout {
                return Err(not_ready(file, Code::TRY_AGAIN));
            }
            std::thread::sleep(self.readiness.interval);
        }
        Ok(())
    }

    /// What record and cache say. The cache is asked only where the record is missing or damaged.
    fn recorded(&self, performer: &Performer<'_>, call: &Call) -> Result<Known> {
        let mut record = performer.records.read(&call.container_id, &call.ifname, &performer.cache)?;
        let entries = std::mem::take(&mut record.entries);
        let (mut mine, others): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|e| e.request == call.ifname);
        for entry in mine.iter_mut().filter(|e| e.attachment.args.is_empty()) {
            self.complete(entry, &performer.cache, call)?;
        }
        let ask_cache = match call.command {
            Command::Add => !record.problems.is_empty(),
            _ => !record.found || !record.problems.is_empty(),
        };
        let mut unrecorded = Vec::new();
        if ask_cache {
            for cached in performer.cache.attachments(Some(&call.container_id))? {
                if mine.iter().chain(&others).any(|e| e.attachment.ifname == cached.ifname) {
                    continue;
                }
                match cached_entry(cached, &call.ifname) {
                    Ok(entry) => unrecorded.push(entry),
                    Err(e) => tracing::warn!("{}: cached attachment: {e}", call.container_id),
                }
            }
            // The cache has no order; the default network, if it is there, came first.
            unrecorded.sort_by_key(|e| e.attachment.ifname != call.ifname);
        }
        Ok(Known { record, mine, others, unrecorded })
    }

    /// Puts attachments back into a damaged record before an ADD of another interface writes it anew. The cache does not say which request they
    /// belong to: those of the default network are one each, and the others belong to the first.
    fn record_again(&self, performer: &Performer<'_>, call: &Call, plan: &Plan, mut living: Vec<Entry>) -> Result<()> {
        if living.is_empty() {
            return Ok(());
        }
        let default = plan.attachments.first().map(|a| a.list.name.as_str()).unwrap_or_default();
        living.sort_by_key(|e| e.attachment.list.name != default);
        let first = living[0].attachment.ifname.clone();
        for entry in &mut living {
            let own = entry.attachment.list.name == default;
            entry.request = if own { entry.attachment.ifname.clone() } else { first.clone() };
        }
        performer.records.update(&call.container_id, &call.ifname, &performer.cache, Durability::Synced, |entries| {
            let missing = living.iter().filter(|l| entries.iter().all(|e| e.attachment.ifname != l.attachment.ifname));
            let missing: Vec<Entry> = missing.cloned().collect();
            entries.extend(missing);
        })
    }

    /// What Multus does not write into its records: the arguments. They are in the cache if the attachment was completed.
    fn complete(&self, entry: &mut Entry, cache: &Cache, call: &Call) -> Result<()> {
        let attachment = &mut entry.attachment;
        match cache.entry(&attachment.list.name, &call.container_id, &attachment.ifname) {
            Ok(Some(cached)) => {
                attachment.args = cached.args;
                attachment.capability_args = cached.capability_args;
            }
            // It is there, and may have what its plugins need to undo their work.
            Err(e) if e.code == Code::TRY_AGAIN => return Err(e),
            Ok(None) | Err(_) => {
                attachment.args = delegate_args(&call.args)?;
                attachment.capability_args = call.conf.get("runtimeConfig").cloned().unwrap_or(Json::Null);
            }
        }
        Ok(())
    }

    /// Every plugin of the attachment can be run.
    fn can_run(&self, performer: &Performer<'_>, entry: &Entry) -> bool {
        let mut plugins = entry.attachment.list.plugins.iter();
        let missing = plugins.find_map(|p| self.delegates.find(p, &performer.path).err());
        if let Some(e) = &missing {
            tracing::warn!("{} is not recorded, and its plugin cannot be asked: {e}", entry.attachment.describe());
        }
        missing.is_none()
    }

    /// What the configuration gives a container.
    fn planned(&self, call: &Call, cluster: Option<&dyn Cluster>) -> Result<Vec<Entry>> {
        Ok(Plan::configured(self.config, call, cluster)?.entries().collect())
    }

    fn performer(&self, call: &Call) -> Performer<'_> {
        Performer {
            delegates: self.delegates,
            links: self.links,
            cache: Cache::new(&self.config.cni_dir),
            records: Records::new(&self.config.cni_dir),
            path: self.path(call),
            netns_override: call.netns_override,
            device_info: DeviceInfo::new(&self.config.device_info_dir),
        }
    }

    /// `binDir` in front of `CNI_PATH`.
    fn path(&self, call: &Call) -> Vec<std::path::PathBuf> {
        let mut path = vec![self.config.bin_dir.clone()];
        path.extend(call.path.iter().filter(|p| **p != self.config.bin_dir).cloned());
        path
    }
}

/// Multus's event: `Add net1 [10.1.1.11/24] from default/macvlan`. A network without interface and address has none.
fn added_event(attached: &Attached<'_>) -> Option<Event> {
    let result = attached.result;
    if result.interfaces.is_empty() && result.ips.is_empty() {
        return None;
    }
    let ips: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    let message = format!("Add {} [{}] from {}", attached.ifname, ips.join(" "), attached.name);
    Some(Event { warning: false, reason: "AddedInterface", message })
}

/// DEL without a namespace for what only the configuration names. Each plugin is asked, whatever became of the others: some refuse a DEL
/// without a namespace (sbr), and the addresses are another's. A failure says no more than that there was nothing to ask about, and would
/// come again with every DEL; only one that passes, or of a disk that cannot tell whether there is something, is an error.
fn release(performer: &Performer<'_>, container: &str, attachments: &[Attachment]) -> Vec<Error> {
    let nowhere = Container { id: container, netns: "" };
    let single = |attachment: &Attachment, plugin: &PluginConf| {
        let mut alone = attachment.clone();
        alone.list.plugins = vec![plugin.clone()];
        alone
    };
    let plugins: Vec<_> = attachments.iter().flat_map(|a| a.list.plugins.iter().map(|p| single(a, p))).collect();
    let failed = performer.detach(nowhere, &plugins).into_iter().map(|(_, e)| e);
    let (again, passed_over): (Vec<_>, Vec<_>) = failed.partition(|e| [Code::TRY_AGAIN, Code::IO].contains(&e.code));
    for error in passed_over {
        tracing::warn!("{container}: not recorded, and a plugin that was asked to be sure failed: {error}");
    }
    again
}

fn attachments(entries: &[Entry]) -> Vec<Attachment> {
    entries.iter().map(|e| e.attachment.clone()).collect()
}

/// A cached attachment as if it were recorded.
fn cached_entry(cached: cache::Entry, request: &str) -> Result<Entry> {
    let conf = Json::parse(&cached.config)?;
    let single = conf.get("type").is_some();
    let list = if single { NetworkList::from_single(&cached.config)? } else { NetworkList::parse(&cached.config)? };
    let attachment = Attachment::recorded(list, cached.ifname, cached.args, cached.capability_args);
    Ok(Entry { request: request.to_owned(), netns: cached.netns, attachment })
}

fn not_ready(file: &std::path::Path, code: Code) -> Error {
    let file = file.display();
    let message = format!(
        "the default network is not ready: {file} (key \"readinessindicatorfile\") is not there; see whether its daemon runs on this node"
    );
    Error::new(code, message)
}

#[cfg(test)]
mod tests;
