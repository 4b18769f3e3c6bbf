//! A definition's configuration, complete: name and version where it has none, the pod's `cni-args` merged in, its device written in.

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
    let conf = match &request.cni_args {
        Some(args) => in_each_plugin(conf, |plugin| merge_args(plugin, args)),
        None => conf,
    };
    default_network::list(config, conf, || name.clone()).map_err(context)
}

/// The same network with a device for its plugins. They know one under either name.
///
/// # Errors
/// None in practice: the network has been read once.
pub(crate) fn with_device(list: &NetworkList, device: &str) -> Result<NetworkList> {
    let conf = in_each_plugin(record::whole(list), |plugin| {
        plugin.set("deviceID", device);
        plugin.set("pciBusID", device);
    });
    NetworkList::parse(&conf.to_vec())
}

/// Completes the configuration of one plugin, or each plugin of a list. What is no object is refused with its place when the list is read.
fn in_each_plugin(mut conf: Json, complete: impl Fn(&mut Json)) -> Json {
    let Some(plugins) = conf.get("plugins").and_then(Json::elements) else {
        if conf.members().is_some() {
            complete(&mut conf);
        }
        return conf;
    };
    let mut plugins = plugins.to_vec();
    plugins.iter_mut().filter(|p| p.members().is_some()).for_each(complete);
    conf.set("plugins", plugins);
    conf
}

/// The pod's `cni-args` over the definition's `args.cni`.
fn merge_args(plugin: &mut Json, asked: &Json) {
    let object = |of: Option<&Json>| of.filter(|j| j.members().is_some()).cloned().unwrap_or(Json::object());
    let mut args = object(plugin.get("args"));
    let mut cni = object(args.get("cni"));
    for (key, value) in asked.members().unwrap_or_default() {
        cni.set(key, value.clone());
    }
    args.set("cni", cni);
    plugin.set("args", args);
}
