//! The meta-plugin's configuration: generated from the primary network or given, and never written before it was read as the runtime and
//! the plugin will read it.

use std::collections::BTreeSet;
use std::path::Path;

use cni::conf::NetworkList;
use cni::{Code, Error, Json, Result, load};
use serde_json::{Map, Value, json};

use super::primary::{OURS, Primary, is_ours};
use super::{Host, Settings};

/// The version of a primary network that names none; as the meta-plugin takes it.
const FALLBACK_VERSION: &str = "0.4.0";

/// The configuration for this primary network, as a list of one plugin.
///
/// # Errors
/// If the primary's version is not the one that was asked for.
pub(super) fn generate(settings: &Settings, primary: &Primary, kubeconfig: Option<&str>) -> Result<Vec<u8>> {
    // As they stand: a runtime that does not know `cniVersions` goes by `cniVersion`, which it takes the primary with.
    let document = Json::parse(&primary.list.bytes)?;
    let found = document.get("cniVersion").and_then(Json::as_str).unwrap_or_default();
    let newest = primary.list.cni_version.as_str();
    if !settings.cni_version.is_empty() && ![found, newest].contains(&settings.cni_version.as_str()) {
        return Err(Error::config(format!(
            "{} has cniVersion {found:?}, but --cni-version says {:?}: change either",
            primary.path.display(),
            settings.cni_version
        )));
    }
    let version = if found.is_empty() { FALLBACK_VERSION } else { found };
    let name = if settings.override_network_name { primary.list.name.as_str() } else { "multus-cni-network" };
    let mut plugin = Map::new();
    let mut put = |key: &str, value: Value| plugin.insert(key.to_owned(), value);
    put("type", json!("multus"));
    put("clusterNetwork", json!(settings.host.path(&primary.path)));
    let capabilities: BTreeSet<&str> = primary.list.plugins.iter().flat_map(|p| p.capabilities()).collect();
    if !capabilities.is_empty() {
        put(
            "capabilities",
            capabilities.into_iter().map(|c| (c.to_owned(), json!(true))).collect::<Map<_, _>>().into(),
        );
    }
    put("logToStderr", json!(settings.log_to_stderr));
    let texts = [
        ("kubeconfig", kubeconfig.unwrap_or_default()),
        ("binDir", &settings.additional_bin_dir),
        ("globalNamespaces", &settings.global_namespaces),
        ("logFile", &settings.log_file),
        ("logLevel", &settings.log_level),
        ("readinessindicatorfile", &settings.readiness_indicator_file),
    ];
    for (key, value) in texts.into_iter().filter(|(_, value)| !value.is_empty()) {
        put(key, json!(value));
    }
    if settings.namespace_isolation {
        put("namespaceIsolation", json!(true));
    }
    let mut generated = json!({"cniVersion": version, "name": name, "plugins": [plugin]});
    if let Some(versions) = document.get("cniVersions").and_then(Json::elements) {
        generated["cniVersions"] = versions.iter().filter_map(Json::as_str).collect();
    }
    let mut bytes = serde_json::to_vec_pretty(&generated).map_err(|e| Error::internal(e.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a configuration as it will be read when it is at `name`: by the runtime, then by the meta-plugin; and the file that its
/// `clusterNetwork` names, where this process sees it.
///
/// # Errors
/// What a pod's ADD would have failed with.
pub(super) fn validate(name: &str, bytes: &[u8], host: &Host) -> Result<()> {
    let list = match Path::new(name).extension().and_then(|e| e.to_str()) {
        Some("conflist") => NetworkList::parse(bytes)?,
        Some("conf" | "json") => NetworkList::from_single(bytes)?,
        _ => return Err(Error::config(format!("a runtime reads files *.conflist, *.conf and *.json, not {name:?}"))),
    };
    cni::names::network(&list.name)?;
    if !Json::parse(bytes).is_ok_and(|document| is_ours(&document)) {
        return Err(Error::config(
            "no plugin of type \"multus\" is in it: pods would come up without the networks that they ask for",
        ));
    }
    for plugin in list.plugins.iter().filter(|p| OURS.contains(&p.plugin_type.as_str())) {
        let config = attach::Config::read(&plugin.request(&list, None, &Json::object())?)?;
        let networks = std::iter::once(&config.cluster_network).chain(&config.default_networks);
        for network in networks.filter(|n| n.contains('/')) {
            let seen = host.seen(Path::new(network));
            // Outside of what is mounted here, or a directory: the plugin finds out.
            if seen.is_dir() || !seen.parent().is_some_and(Path::is_dir) {
                continue;
            }
            load::file(&seen).map_err(|e| e.context(format!("network {network:?}")))?;
        }
        if config.cluster_network.is_empty() && config.delegates.is_empty() {
            return Err(Error::config("give \"clusterNetwork\" or \"delegates\": pods need a default network"));
        }
        for (at, delegate) in config.delegates.iter().enumerate().filter(|_| config.cluster_network.is_empty()) {
            let text = |key: &str| delegate.get(key).and_then(Json::as_str).is_some_and(|t| !t.is_empty());
            if !text("type") && delegate.get("plugins").and_then(Json::elements).is_none_or(<[Json]>::is_empty) {
                return Err(Error::config(format!("delegates[{at}] has neither \"type\" nor \"plugins\"")));
            }
        }
    }
    Ok(())
}

/// The configuration file that was given, whole.
///
/// # Errors
/// If it is not there.
pub(super) fn given(path: &Path) -> Result<Vec<u8>> {
    cni::file::read(path, cni::env::STDIN_LIMIT)?.ok_or_else(|| {
        Error::new(Code::IO, format!("{} (--multus-conf-file) is not there: is the ConfigMap mounted?", path.display()))
    })
}
