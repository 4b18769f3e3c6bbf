//! Where a network's configuration comes from: the delegates that stand in the configuration, or `clusterNetwork` and its companions, found
//! by name in `confDir`, in a directory, or in a file.

use std::path::{Path, PathBuf};

use cni::conf::NetworkList;
use cni::{Code, Error, Json, Result, load};

use crate::Config;

/// The version a delegate is run with where neither it nor the meta-plugin's configuration names one. 0.4.0 has CHECK, every plugin of the
/// last seven years speaks it (flannel's own up to 0.9.1 nothing newer), and its results convert to the 0.1.0 that such a configuration is
/// answered in.
const FALLBACK_VERSION: &str = "0.4.0";

/// The list that static delegate number `index` stands for: one plugin, or a list of its own.
///
/// # Errors
/// Names the delegate and the key.
pub(crate) fn static_delegate(config: &Config, index: usize, delegate: &Json) -> Result<NetworkList> {
    let context = |e: Error| e.context(format!("key \"delegates[{index}]\""));
    if delegate.members().is_none() {
        return Err(context(Error::new(Code::DECODE, "a delegate must be a JSON object")));
    }
    let name = || format!("{}-{index}", config.name);
    list(config, delegate.clone(), name).map_err(context)
}

/// One plugin's configuration, or a list, completed with a name and a version where it has none.
pub(crate) fn list(config: &Config, mut conf: Json, name: impl Fn() -> String) -> Result<NetworkList> {
    let text = |conf: &Json, key: &str| match conf.get(key) {
        None => Ok(false),
        Some(value) => match value.as_str() {
            Some(s) => Ok(!s.is_empty()),
            None => Err(Error::new(Code::DECODE, format!("key \"{key}\" must be a string"))),
        },
    };
    if !text(&conf, "name")? {
        conf.set("name", name());
    }
    if !text(&conf, "cniVersion")? && conf.get("cniVersions").is_none() {
        let version = if config.has_version { config.version.as_str() } else { FALLBACK_VERSION };
        conf.set("cniVersion", version);
    }
    if text(&conf, "type")? {
        return NetworkList::from_single(&conf.to_vec());
    }
    match conf.get("plugins") {
        None => Err(Error::config("must have \"type\" (one plugin) or \"plugins\" (a list of plugins)")),
        Some(Json::Array(plugins)) if !plugins.is_empty() => NetworkList::parse(&conf.to_vec()),
        Some(Json::Array(_)) => Err(Error::config("key \"plugins\" is empty: a network needs at least one plugin")),
        Some(_) => Err(Error::new(Code::DECODE, "key \"plugins\" must be an array")),
    }
}

/// The network that `clusterNetwork` or an element of `defaultNetworks` refers to: with a `/` a file or a directory, otherwise a name in
/// `confDir`.
///
/// # Errors
/// Names the key, the reference, and where it was searched.
pub(crate) fn find(config: &Config, key: &str, reference: &str) -> Result<NetworkList> {
    let context = |e: Error| e.context(format!("key \"{key}\": \"{reference}\""));
    if reference.is_empty() {
        return Err(context(Error::config("give the name of a network, a directory or a file")));
    }
    let found = if !reference.contains('/') {
        let found = load::network(&config.conf_dir, reference).map_err(context)?;
        found.ok_or_else(|| {
            let dir = config.conf_dir.display();
            context(Error::config(format!(
                "cannot find network: no file in {dir} (key \"confDir\") holds a network of that name"
            )))
        })?
    } else {
        load::file(&file_of(reference).map_err(context)?).map_err(context)?
    };
    with_version(config, found).map_err(context)
}

/// The file of a reference with a `/`: itself, or, of a directory, the first by name that is a network configuration.
fn file_of(reference: &str) -> Result<PathBuf> {
    let path = Path::new(reference);
    let failed = |e: std::io::Error| Error::new(Code::IO, format!("cannot find network: {e}"));
    if !path.metadata().map_err(failed)?.is_dir() {
        return Ok(path.to_owned());
    }
    let entries = path.read_dir().and_then(|dir| dir.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>());
    let mut files = entries.map_err(failed)?;
    let is_conf = |p: &PathBuf| p.extension().is_some_and(|e| ["conf", "conflist", "json"].iter().any(|x| e == *x));
    files.retain(|p| is_conf(p) && p.is_file());
    files.sort();
    files
        .into_iter()
        .next()
        .ok_or_else(|| Error::config("cannot find network: the directory has no file *.conf, *.conflist or *.json"))
}

/// A list from a file may lack `cniVersion`; it gets the same one as a static delegate without.
fn with_version(config: &Config, list: NetworkList) -> Result<NetworkList> {
    if !list.cni_version.is_empty() {
        return Ok(list);
    }
    let version = if config.has_version { config.version.as_str() } else { FALLBACK_VERSION };
    Ok(NetworkList { version: version.parse()?, cni_version: version.to_owned(), ..list })
}

/// The network of `auxiliaryCNIChainName`: the plugins in the directory of that name beside the cluster network's file, after one that
/// passes results through. `None` if the directory holds none.
///
/// # Errors
/// If the cluster network is no path, or a file cannot be read.
pub(crate) fn auxiliary(config: &Config) -> Result<Option<NetworkList>> {
    let chain = &config.auxiliary_chain;
    let context = |e: Error| e.context(format!("key \"auxiliaryCNIChainName\": \"{chain}\""));
    if !config.cluster_network.contains('/') {
        return Err(context(Error::config("needs a path in key \"clusterNetwork\", beside which its directory is")));
    }
    if chain.contains('/') || chain.starts_with('.') {
        return Err(context(Error::config("must be the name of a directory, not a path")));
    }
    let file = file_of(&config.cluster_network).map_err(context)?;
    let dir = file.parent().unwrap_or(Path::new("/")).join(chain);
    let entries = match dir.read_dir() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries.and_then(|d| d.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()),
    };
    let failed = |path: &Path, e: std::io::Error| Error::new(Code::IO, format!("{}: {e}", path.display()));
    let mut files = entries.map_err(|e| context(failed(&dir, e)))?;
    files.retain(|p| p.extension().is_some_and(|e| e == "conf") && p.is_file());
    files.sort();
    if files.is_empty() {
        return Ok(None);
    }
    let mut passthru = Json::object();
    passthru.set("type", "passthru");
    let mut plugins = vec![passthru];
    for path in files {
        let bytes = std::fs::read(&path).map_err(|e| context(failed(&path, e)))?;
        plugins.push(Json::parse(&bytes).map_err(|e| context(Error::from(e).context(path.display())))?);
    }
    let mut conf = Json::object();
    conf.set("name", chain.as_str());
    conf.set("plugins", plugins);
    list(config, conf, || chain.clone()).map(Some).map_err(context)
}
