//! Performing a plan, and undoing it.
//!
//! Owns: the order of delegates, what happens when one fails, and when an attachment may be forgotten. Which attachments exist is told by the
//! record, which is written once before the first delegate runs; how far an ADD came, by libcni's cache files.

use std::path::PathBuf;

use cni::cache::Cache;
use cni::chain::{self, Runtime};
use cni::file::Durability;
use cni::{Call, CniResult, Command, Error, Result};

use crate::config::SecondaryDefaultRoutes;
use crate::devices::info::DeviceInfo;
use crate::record::{Entry, Records, Syncing};
use crate::{Attachment, Delegates, Plan, PodLinks, default_route};

/// Performs plans with a node's plugins, links and directories.
pub struct Performer<'a> {
    /// Runs plugins.
    pub delegates: &'a dyn Delegates,
    /// The container's links.
    pub links: &'a dyn PodLinks,
    /// libcni's cache.
    pub cache: Cache,
    /// The records.
    pub records: Records,
    /// Where plugins are searched.
    pub path: Vec<PathBuf>,
    /// `CNI_NETNS_OVERRIDE`, which plugins are told too.
    pub netns_override: bool,
    /// What is known of devices.
    pub device_info: DeviceInfo,
}

/// A container and its network namespace.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// Its ID.
    pub id: &'a str,
    /// Path of its namespace; empty if that is gone.
    pub netns: &'a str,
}

impl Performer<'_> {
    /// ADD: records the plan in place of what is recorded of its request, then makes the attachments in order. The results, in the same
    /// order.
    ///
    /// # Errors
    /// The first error, saying which attachment. Everything made is undone, and the record with it; what could not be undone stays recorded,
    /// and the error's details name it.
    pub fn add(&self, plan: &Plan) -> Result<Vec<CniResult>> {
        self.records.update(&plan.container_id, &plan.request, &self.cache, Durability::Cached, |entries| {
            entries.retain(|e| e.request != plan.request);
            entries.extend(plan.entries());
        })?;
        // The record is there before the first delegate runs, whatever becomes of this process. That it outlives a power loss matters only
        // where something that it describes does: not where all of that is the kernel's, or younger on the same filesystem
        // (docs/decisions/0005). Otherwise it matters from when the runtime is told of a success (docs/decisions/0001).
        let synced = if self.outlives(plan) { None } else { Some(self.records.sync(&plan.container_id)?) };
        let mut results: Vec<CniResult> = Vec::with_capacity(plan.attachments.len());
        for (i, attachment) in plan.attachments.iter().enumerate() {
            let added = self.attach(plan, attachment, results.first());
            match added.map_err(|e| e.context(attachment.describe())) {
                Ok(result) => results.push(result),
                Err(e) => return Err(self.undo(plan, i + 1, e)),
            }
        }
        match self.choose_default_routes(plan, &mut results).and_then(|()| synced.map_or(Ok(()), Syncing::wait)) {
            Ok(()) => Ok(results),
            Err(e) => Err(self.undo(plan, plan.attachments.len(), e)),
        }
    }

    /// The plan's record outlives all that the plan's plugins leave, without being synced.
    fn outlives(&self, plan: &Plan) -> bool {
        let mut plugins = plan.attachments.iter().flat_map(|a| &a.list.plugins);
        plugins.all(|plugin| self.delegates.state_dirs(plugin).is_some_and(|dirs| self.records.outlive(&dirs)))
    }

    /// Makes the default routes what the pod's annotation asks for, in the kernel, the results and the cache.
    fn choose_default_routes(&self, plan: &Plan, results: &mut [CniResult]) -> Result<()> {
        let mut changed = vec![false; results.len()];
        for (at, (attachment, result)) in plan.attachments.iter().zip(results.iter_mut()).enumerate() {
            let gone = default_route::superseded(at, attachment, result, &plan.default_routes);
            if gone.is_empty() {
                continue;
            }
            changed[at] = true;
            let removed = self.links.remove_routes(&plan.netns, &attachment.ifname, &gone);
            removed.map_err(|e| e.context(attachment.describe()))?;
            result
                .routes
                .retain(|r| !gone.iter().any(|g| g.dst == r.dst && g.priority == r.priority && g.table == r.table));
        }
        // After all that go: the kernel replaces whatever has the same metric.
        for (at, (attachment, result)) in plan.attachments.iter().zip(results).enumerate() {
            let context = |e: Error| e.context(attachment.describe());
            let mine: Vec<_> = plan.default_routes.iter().filter(|c| c.attachment == at).collect();
            if mine.is_empty() && !changed[at] {
                continue;
            }
            for choice in mine {
                self.links
                    .replace_default_route(&plan.netns, &attachment.ifname, &choice.gateways, choice.metric)
                    .map_err(|e| {
                        let addresses: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
                        let remedy =
                            format!("each gateway must be on a network of the interface ({})", addresses.join(", "));
                        let details = if e.details.is_empty() { remedy } else { format!("{}; {remedy}", e.details) };
                        context(e.context("key \"default-route\"").with_details(details))
                    })?;
                result.routes.extend(default_route::routes(choice));
            }
            let runtime = self.runtime(plan.container(), attachment);
            self.cache.write(&attachment.list.name, &attachment.list.bytes, &runtime, result).map_err(context)?;
        }
        Ok(())
    }

    /// One attachment; `default` is the default network's result, unless this is the default network.
    fn attach(&self, plan: &Plan, attachment: &Attachment, default: Option<&CniResult>) -> Result<CniResult> {
        let runtime = self.runtime(plan.container(), attachment);
        if let Some(device) = &attachment.request.device {
            self.device_info.copy(device, &attachment.capability_args)?;
        }
        let default = default.filter(|_| plan.secondary_default_routes == SecondaryDefaultRoutes::Drop);
        let result =
            chain::add_then(&attachment.list, &runtime, self.delegates, &self.cache, |result| match default {
                Some(default) => self.yield_default_routes(plan, attachment, default, result),
                None => Ok(result),
            })?;
        tracing::debug!("{}: {} attached", plan.container_id, attachment.describe());
        Ok(result)
    }

    /// Removes the default routes that the default network provides too, from the kernel and from the result.
    fn yield_default_routes(
        &self,
        plan: &Plan,
        attachment: &Attachment,
        default: &CniResult,
        result: CniResult,
    ) -> Result<CniResult> {
        let routes = default_route::conflicting(default, &result);
        if routes.is_empty() {
            return Ok(result);
        }
        let ifname = &attachment.ifname;
        self.links.remove_routes(&plan.netns, ifname, &routes)?;
        let first = &plan.attachments[0];
        let provider = first.list.plugins.first().map_or("", |p| p.plugin_type.as_str());
        for route in &routes {
            let via = route.gw.map(|gw| format!(" via {gw}")).unwrap_or_default();
            tracing::info!("default route of {ifname}{via} dropped: {} ({provider}) already provides it", first.ifname);
        }
        Ok(default_route::without(result, &routes))
    }

    /// Undoes the first `count` attachments of a plan in reverse and takes them out of the record. Returns `error`, with what could not be
    /// undone in its details.
    #[must_use]
    pub fn undo(&self, plan: &Plan, count: usize, error: Error) -> Error {
        let failed = self.detach(plan.container(), &plan.attachments[..count]);
        let stays = |ifname: &str| failed.iter().any(|(i, _)| plan.attachments[*i].ifname == ifname);
        let saved =
            self.records.update(&plan.container_id, &plan.request, &self.cache, Durability::Synced, |entries| {
                entries.retain(|e| e.request != plan.request || stays(&e.attachment.ifname));
            });
        let left: Vec<String> =
            failed.into_iter().map(|(_, e)| e.to_string()).chain(saved.err().map(|e| e.to_string())).collect();
        if left.is_empty() {
            return error;
        }
        tracing::warn!("{}: undoing a failed ADD left something behind: {}", plan.container_id, left.join(" / "));
        let separator = if error.details.is_empty() { "" } else { "; " };
        let details = format!("{}{separator}undoing left something for the DEL: {}", error.details, left.join(" / "));
        error.with_details(details)
    }

    /// DEL of attachments in reverse order. Never stops early: those that are not known to be gone come back, each with its error.
    #[must_use]
    pub fn detach(&self, container: Container<'_>, attachments: &[Attachment]) -> Vec<(usize, Error)> {
        let mut failed = Vec::new();
        let mut rest = attachments.len();
        while rest > 0 {
            let own = attachments[..rest].iter().rev().take_while(|a| self.owns_interface(container, a)).count();
            let run = own.max(1);
            if own > 1 && !container.netns.is_empty() {
                // One round through the kernel for all of them instead of one each.
                let names: Vec<&str> = attachments[rest - run..rest].iter().rev().map(|a| a.ifname.as_str()).collect();
                if let Err(e) = self.links.remove(container.netns, &names) {
                    tracing::warn!("{}: removing {} at once failed: {e}", container.id, names.join(", "));
                }
            }
            for i in (rest - run..rest).rev() {
                let attachment = &attachments[i];
                let runtime = self.runtime(container, attachment);
                let deleted = chain::del(&attachment.list, &runtime, self.delegates, &self.cache);
                match deleted.and_then(|()| self.device_info.remove(&attachment.capability_args)) {
                    Ok(()) => tracing::debug!("{}: {} detached", container.id, attachment.describe()),
                    Err(e) => failed.push((i, e.context(attachment.describe()))),
                }
            }
            rest -= run;
        }
        failed
    }

    /// CHECK of attachments, all of them. Versions without CHECK are passed over.
    ///
    /// # Errors
    /// All errors in one; the code is the first one's.
    pub fn check(&self, container: Container<'_>, attachments: &[Attachment]) -> Result<()> {
        let errors = attachments.iter().filter(|a| a.list.version.has_check()).filter_map(|a| {
            let checked = chain::check(&a.list, &self.runtime(container, a), self.delegates, &self.cache);
            checked.err().map(|e| e.context(a.describe()))
        });
        Error::join(errors)
    }

    /// Every plugin of the attachment removes the interface in its DEL, and needs nothing of it.
    fn owns_interface(&self, container: Container<'_>, attachment: &Attachment) -> bool {
        attachment.list.plugins.iter().all(|plugin| {
            let call = Call {
                command: Command::Del,
                container_id: container.id.to_owned(),
                netns: container.netns.to_owned(),
                ifname: attachment.ifname.clone(),
                args: String::new(),
                path: Vec::new(),
                netns_override: self.netns_override,
                conf: plugin.conf.clone(),
            };
            self.delegates.owns_interface(&plugin.plugin_type, &call)
        })
    }

    fn runtime(&self, container: Container<'_>, attachment: &Attachment) -> Runtime {
        Runtime {
            container_id: container.id.to_owned(),
            netns: container.netns.to_owned(),
            ifname: attachment.ifname.clone(),
            args: attachment.args.clone(),
            capability_args: attachment.capability_args.clone(),
            path: self.path.clone(),
            netns_override: self.netns_override,
        }
    }
}

impl Plan {
    /// The attachments as they are recorded.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.attachments.iter().map(|attachment| Entry {
            request: self.request.clone(),
            netns: self.netns.clone(),
            attachment: attachment.clone(),
        })
    }

    fn container(&self) -> Container<'_> {
        Container { id: &self.container_id, netns: &self.netns }
    }
}
