//! A definition's configuration, complete: name and version where it has none, the pod's `cni-args` merged in, its device injected.

use cni::conf::NetworkList;
use cni::{Error, Json, Result, load};

use super::Request;
use crate::cluster::Definition;
use crate::{Config, default_network, record};

/// The network that a definition stands for, with what the pod asks of it.
///
/// # Errors
/// Names the definition and the key.
pub(super) fn list(config: &Config, definition: &Definition, request: &Request) -> Result<NetworkList> {
    let Definition { namespace, name, config: text, .. } = definition;
    let context = |e: Error| e.context(format!("NetworkAttachmentDefinition {namespace}/{name}"));
    let conf = if text.trim().is_empty() {
        let found = load::network(&config.conf_dir, name).map_err(context)?.ok_or_else(|| {
            context(Error::config(format!(
                "spec.config is empty, and no file in {} (key \"confDir\") holds a network named \"{name}\"",
                config.conf_dir.display()
            )))
        })?;
        record::whole(&found)
    } else {
        Json::parse(text.as_bytes()).map_err(|e| context(Error::from(e).context("spec.config")))?
    };
    let conf = inject(conf, request);
    default_network::list(config, conf, || name.clone()).map_err(context)
}

/// Puts arguments and device into the configuration's plugin, or into each plugin of a list.
fn inject(mut conf: Json, request: &Request) -> Json {
    if request.cni_args.is_none() && request.device_id.is_none() {
        return conf;
    }
    let Some(plugins) = conf.get("plugins").and_then(Json::elements) else {
        complete(&mut conf, request);
        return conf;
    };
    let mut plugins = plugins.to_vec();
    for plugin in &mut plugins {
        complete(plugin, request);
    }
    conf.set("plugins", plugins);
    conf
}

fn complete(plugin: &mut Json, request: &Request) {
    if plugin.members().is_none() {
        // What is no object is refused with its place when the list is read.
        return;
    }
    if let Some(asked) = request.cni_args.as_ref().and_then(Json::members) {
        let object = |of: Option<&Json>| of.filter(|j| j.members().is_some()).cloned().unwrap_or(Json::object());
        let mut args = object(plugin.get("args"));
        let mut cni = object(args.get("cni"));
        for (key, value) in asked {
            cni.set(key, value.clone());
        }
        args.set("cni", cni);
        plugin.set("args", args);
    }
    // Plugins know a device under either name.
    if let Some(device) = request.device_id.as_deref().filter(|_| request.device_allocated) {
        plugin.set("deviceID", device);
        plugin.set("pciBusID", device);
    }
}
