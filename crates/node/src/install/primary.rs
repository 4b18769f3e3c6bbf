//! Which file is the node's primary network.

use std::path::{Path, PathBuf};

use cni::conf::NetworkList;
use cni::{Code, Error, Json, Result, load};

/// Plugin types that are this program or what it replaces: a configuration with one of them is never a primary network, whatever its
/// file's name, since the meta-plugin would call itself.
pub(super) const OURS: [&str; 4] = ["multus", "multus-shim", "plexus", "plexus-shim"];

/// The longest configuration that a plugin's stdin takes, in bytes.
const LIMIT: u64 = cni::env::STDIN_LIMIT;

/// The primary network.
#[derive(Debug)]
pub(super) struct Primary {
    /// Its file's name, before `--rename-conf-file` came.
    pub(super) name: String,
    /// Its file, as this process sees it.
    pub(super) path: PathBuf,
    /// It was found under its second name, `<name>.old`.
    pub(super) is_renamed: bool,
    /// What is in it, drop-in plugins included.
    pub(super) list: NetworkList,
}

/// What a configuration file is to the installer.
#[derive(Debug)]
enum Kind {
    /// Of the meta-plugin.
    Ours,
    /// The loopback that some distributions put beside the network; runtimes make their own.
    Loopback,
    Network(NetworkList),
    /// Removed or renamed since the directory was read.
    Gone,
}

/// The primary network in `dir`: the file `named`, or the first by name that is neither ours nor loopback. Files of `renamed` count under
/// their names, though they are found at `<name>.old`.
///
/// A file that cannot be read ends the search: what comes after it is not what the runtime would have used.
///
/// # Errors
/// Says which file is missing or broken, and what to do.
pub(super) fn choose(dir: &Path, named: Option<&str>, renamed: &[String]) -> Result<Primary> {
    let mut names = match named {
        Some(name) => vec![name.to_owned()],
        None => [&configurations(dir)?, renamed].concat(),
    };
    names.sort();
    names.dedup();
    for name in names.into_iter().filter(|name| !is_generated(name)) {
        for is_renamed in [false, true] {
            if is_renamed && !renamed.contains(&name) {
                continue;
            }
            let path = dir.join(if is_renamed { format!("{name}.old") } else { name.clone() });
            match kind(&path)? {
                Kind::Network(list) => return Ok(Primary { name, path, is_renamed, list }),
                Kind::Ours | Kind::Loopback => break,
                Kind::Gone => {}
            }
        }
    }
    let message = match named {
        Some(name) => format!(
            "the primary network's file {} (--multus-master-cni-file-name) is not there, or is the meta-plugin's own",
            dir.join(name).display()
        ),
        None => format!(
            "no primary network in {}: no file *.conf, *.conflist or *.json there but the meta-plugin's own; install the cluster's network \
             (flannel, Calico, ...), it is used as soon as its file appears",
            dir.display()
        ),
    };
    Err(Error::new(Code::TRY_AGAIN, message))
}

/// The names under which Multus and we write generated configurations. They are ours even if damaged: Multus can leave an empty file.
pub(super) fn is_generated(name: &str) -> bool {
    matches!(name, "00-multus.conf" | "00-multus.conflist")
}

/// The names of the files in `dir` that a runtime takes for network configurations, in its order.
///
/// # Errors
/// If the directory cannot be read.
pub(super) fn configurations(dir: &Path) -> Result<Vec<String>> {
    let failed =
        |e: std::io::Error| Error::new(Code::IO, format!("failed to read the directory {}: {e}", dir.display()));
    let mut names = Vec::new();
    for entry in dir.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_conf = Path::new(&entry.file_name())
            .extension()
            .is_some_and(|e| ["conf", "conflist", "json"].iter().any(|x| e == *x));
        if let (true, Ok(name)) = (is_conf && !entry.path().is_dir(), entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Is it a configuration of the meta-plugin: alone, in a list, or as one of several delegates' callers?
pub(super) fn is_ours(document: &Json) -> bool {
    let ours = |conf: &Json| conf.get("type").and_then(Json::as_str).is_some_and(|t| OURS.contains(&t));
    ours(document) || document.get("plugins").and_then(Json::elements).is_some_and(|plugins| plugins.iter().any(ours))
}

fn kind(path: &Path) -> Result<Kind> {
    let broken = |e: &dyn std::fmt::Display| {
        Error::config(format!(
            "the primary network's file {} cannot be used: {e}; repair or remove it (what was generated before stays in use)",
            path.display()
        ))
    };
    let Some(bytes) = cni::file::read(path, LIMIT)? else { return Ok(Kind::Gone) };
    let document = Json::parse(&bytes).map_err(|e| broken(&e))?;
    if is_ours(&document) {
        return Ok(Kind::Ours);
    }
    let list = load::file(path).map_err(|e| broken(&e))?;
    cni::names::network(&list.name).map_err(|e| broken(&e))?;
    if list.plugins.iter().any(|p| OURS.contains(&p.plugin_type.as_str())) {
        return Ok(Kind::Ours);
    }
    if list.plugins.iter().all(|p| p.plugin_type == "loopback") {
        return Ok(Kind::Loopback);
    }
    Ok(Kind::Network(list))
}
