//! A record's bytes: the array of delegates that Multus 4.3 keeps for a container, each with what we know beside it under `plexus`.
//!
//! Multus reads what is written here (it ignores keys it does not know); what Multus wrote is read here. Go's names are used as they are,
//! `Bytes` is base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cni::conf::NetworkList;
use cni::json::from_json;
use cni::{Error, Json, Result, names};
use serde::Deserialize;

use super::{Entry, whole};
use crate::Attachment;

/// Our part of an entry.
#[derive(Deserialize)]
struct Ours {
    request: String,
    ifname: String,
    #[serde(default)]
    netns: String,
    #[serde(default)]
    args: Vec<(String, String)>,
    #[serde(rename = "capabilityArgs", default = "null")]
    capability_args: Json,
}

fn null() -> Json {
    Json::Null
}

pub(super) fn write(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut first = true;
    let mut array = Vec::with_capacity(entries.len());
    for Entry { request, netns, attachment } in entries {
        let list = &attachment.list;
        let types = list.plugins.iter().map(|p| {
            let mut plugin = Json::object();
            plugin.set("type", p.plugin_type.as_str());
            plugin
        });
        // Multus takes an entry for a list if there is a plugin here, and completes a list that lacks a version by losing most of it.
        let mut conf_list = Json::object();
        conf_list.set("cniVersion", list.cni_version.as_str());
        conf_list.set("name", list.name.as_str());
        conf_list.set("plugins", types.collect::<Vec<_>>());

        let mut ours = Json::object();
        ours.set("request", request.as_str());
        ours.set("ifname", attachment.ifname.as_str());
        ours.set("netns", netns.as_str());
        ours.set("args", Json::from_value(&attachment.args)?);
        ours.set("capabilityArgs", attachment.capability_args.clone());

        let mut entry = Json::object();
        entry.set("Conf", Json::object());
        entry.set("ConfList", conf_list);
        entry.set("Name", list.name.as_str());
        // Multus gives the first entry the runtime's name, which is what it has here.
        if !first {
            entry.set("ifnameRequest", attachment.ifname.as_str());
        }
        entry.set("IsFilterV4Gateway", false);
        entry.set("IsFilterV6Gateway", false);
        entry.set("Bytes", BASE64.encode(whole(list).to_vec()));
        entry.set("plexus", ours);
        array.push(entry);
        first = false;
    }
    Ok(Json::Array(array).to_vec())
}

/// The entries that can be read, and why the others cannot. `default_ifname` gives the interface of the default network named so.
pub(super) fn read(bytes: &[u8], default_ifname: impl Fn(&str) -> Result<String>) -> (Vec<Entry>, Vec<String>) {
    let problem = |text: String| (Vec::new(), vec![text]);
    if bytes.is_empty() {
        return problem("the file is empty".to_owned());
    }
    let json = match Json::parse(bytes) {
        Ok(json) => json,
        Err(e) => return problem(e.to_string()),
    };
    let Some(elements) = json.elements().filter(|e| !e.is_empty()) else {
        return problem("the file holds no list of attachments".to_owned());
    };
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    let mut request = None;
    for (i, element) in elements.iter().enumerate() {
        match entry(element, i, &mut request, &default_ifname) {
            Ok(entry) => entries.push(entry),
            Err(e) => problems.push(format!("attachment {i}: {e}")),
        }
    }
    (entries, problems)
}

fn entry(
    element: &Json,
    index: usize,
    multus_request: &mut Option<String>,
    default_ifname: impl Fn(&str) -> Result<String>,
) -> Result<Entry> {
    let list = config(element)?;
    names::network(&list.name)?;
    if let Some(ours) = element.get("plexus") {
        let Ours { request, ifname, netns, args, capability_args } = from_json(ours)?;
        names::interface(&request)?;
        names::interface(&ifname)?;
        return Ok(Entry { request, netns, attachment: Attachment::recorded(list, ifname, args, capability_args) });
    }
    let request = match multus_request {
        Some(request) => request.clone(),
        None => multus_request.insert(default_ifname(&list.name)?).clone(),
    };
    let asked = element.get("ifnameRequest").and_then(Json::as_str).filter(|n| !n.is_empty());
    let ifname = match asked {
        Some(name) => name.to_owned(),
        None if index == 0 => request.clone(),
        None => format!("net{index}"),
    };
    names::interface(&ifname)?;
    let attachment = Attachment::recorded(list, ifname, Vec::new(), Json::Null);
    Ok(Entry { request, netns: String::new(), attachment })
}

/// The network of an entry. Multus 4.3 writes a list that it loaded from a file into `Bytes` without most of its keys (its issue 1449), but
/// whole into `CNINetworkConfigList`.
fn config(element: &Json) -> Result<NetworkList> {
    let corrupt = |text: &str| Error::config(text.to_owned());
    let whole = element.get("CNINetworkConfigList");
    let plugins = whole.and_then(|l| l.get("Plugins")).and_then(Json::elements).unwrap_or_default();
    if !plugins.is_empty() {
        let whole = whole.unwrap_or(&Json::Null);
        let plugins = plugins.iter().map(|p| Ok(Json::parse(&bytes(p)?)?)).collect::<Result<Vec<_>>>()?;
        let mut list = Json::object();
        let keys = [("Name", "name"), ("CNIVersion", "cniVersion"), ("DisableCheck", "disableCheck")];
        for (from, to) in keys.into_iter().chain([("DisableGC", "disableGC")]) {
            if let Some(value) = whole.get(from) {
                list.set(to, value.clone());
            }
        }
        list.set("loadOnlyInlinedPlugins", true);
        list.set("plugins", plugins);
        return NetworkList::parse(&list.to_vec());
    }
    let bytes = bytes(element)?;
    let mut conf = Json::parse(&bytes)?;
    if conf.members().is_none() {
        return Err(corrupt("its configuration is no JSON object"));
    }
    // Multus completes what lacks a name or a version from what stands beside it.
    let text = |conf: &Json, key: &str| conf.get(key).and_then(Json::as_str).is_some_and(|s| !s.is_empty());
    if !text(&conf, "name") {
        let name = element.get("Name").and_then(Json::as_str).filter(|n| !n.is_empty());
        conf.set("name", name.ok_or_else(|| corrupt("its configuration has no name"))?);
    }
    if text(&conf, "type") { NetworkList::from_single(&conf.to_vec()) } else { NetworkList::parse(&conf.to_vec()) }
}

fn bytes(of: &Json) -> Result<Vec<u8>> {
    let text = of.get("Bytes").and_then(Json::as_str).filter(|t| !t.is_empty());
    let text = text.ok_or_else(|| Error::config("it has no configuration (key \"Bytes\")"))?;
    BASE64.decode(text).map_err(|e| Error::config(format!("key \"Bytes\" is not base64: {e}")))
}
