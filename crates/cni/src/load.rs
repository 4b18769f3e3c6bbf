//! Network configurations in files: by name from a directory, one file, and the drop-in directory of a network.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! use plexus_cni::load;
//!
//! std::fs::write(dir.join("10-office.conflist"), r#"{"cniVersion": "1.0.0", "name": "office", "plugins": [{"type": "bridge"}]}"#)?;
//! std::fs::create_dir(dir.join("office"))?;
//! std::fs::write(dir.join("office/10-sysctls.conf"), r#"{"type": "tuning"}"#)?;
//!
//! let office = load::network(dir, "office")?.ok_or("no such network")?;
//! assert_eq!(office.plugins[1].plugin_type, "tuning");
//! assert!(load::network(dir, "other")?.is_none());
//! # Ok(())
//! # }
//! ```

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::conf::{NetworkList, PluginConf};
use crate::{Code, Error, Json, Result, file as disk, names};

/// The longest configuration file that is read, in bytes. A configuration has to fit through a plugin's stdin.
const LIMIT: u64 = crate::env::STDIN_LIMIT;

/// The first network named `name` in `dir`: `*.conflist` files by file name, then `*.conf` and `*.json` (one plugin each). `None` if there is
/// none, or no directory.
///
/// # Errors
/// Any file before it that cannot be read; the message names the file.
pub fn network(dir: &Path, name: &str) -> Result<Option<NetworkList>> {
    for path in files(dir, &["conflist"])? {
        let list = file(&path)?;
        if list.name == name {
            return Ok(Some(list));
        }
    }
    for path in files(dir, &["conf", "json"])? {
        let bytes = read(&path)?;
        let list = NetworkList::from_single(&bytes).map_err(|e| in_file(e, &path))?;
        if list.name == name {
            return Ok(Some(list));
        }
    }
    Ok(None)
}

/// The network in one file: a list (`.conflist`, or any other with `plugins`), or one plugin's configuration. Unless the list says
/// `loadOnlyInlinedPlugins`, the plugins in `<directory of the file>/<name of the network>/*.conf` follow its own.
///
/// # Errors
/// If it cannot be read or has no plugin at all.
pub fn file(path: &Path) -> Result<NetworkList> {
    let bytes = read(path)?;
    let is_list = path.extension() == Some(OsStr::new("conflist"))
        || Json::parse(&bytes).is_ok_and(|document| document.get("plugins").is_some());
    if !is_list {
        return NetworkList::from_single(&bytes).map_err(|e| in_file(e, path));
    }
    let mut list = NetworkList::parse(&bytes).map_err(|e| in_file(e, path))?;
    if !list.load_only_inlined_plugins {
        // The name becomes a part of a path here.
        names::network(&list.name).map_err(|e| in_file(e, path))?;
        list.plugins.extend(drop_ins(&path.with_file_name(&list.name))?);
    }
    if list.plugins.is_empty() {
        let drop_ins = path.with_file_name(&list.name);
        return Err(in_file(Error::config("no plugin configs found"), path)
            .with_details(format!("neither under \"plugins\" nor as *.conf in {}", drop_ins.display())));
    }
    Ok(list)
}

/// The plugins of a drop-in directory, by file name; none if there is no directory.
fn drop_ins(dir: &Path) -> Result<Vec<PluginConf>> {
    let plugin = |path: PathBuf| {
        let json = Json::parse(&read(&path)?).map_err(|e| Error::new(Code::DECODE, e.to_string()));
        json.and_then(PluginConf::new).map_err(|e| in_file(e, &path))
    };
    files(dir, &["conf"])?.into_iter().map(plugin).collect()
}

/// The files of `dir` with one of these extensions, sorted by name; none if there is no directory.
fn files(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let failed = |e: std::io::Error| {
        Error::new(Code::IO, format!("failed to read the configuration directory \"{}\": {e}", dir.display()))
    };
    let entries = match dir.read_dir() {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let wanted = path.extension().and_then(OsStr::to_str).is_some_and(|e| extensions.contains(&e));
        if wanted && !entry.file_type().map_err(failed)?.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    disk::read(path, LIMIT)?
        .ok_or_else(|| Error::new(Code::IO, format!("failed to read \"{}\": no such file", path.display())))
}

fn in_file(e: Error, path: &Path) -> Error {
    e.context(format!("configuration file \"{}\"", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A directory with these files.
    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    const INLINE: &str = r#"{"name": "net", "plugins": [{"type": "one"}]}"#;

    fn types(list: &NetworkList) -> Vec<&str> {
        list.plugins.iter().map(|p| p.plugin_type.as_str()).collect()
    }

    #[test]
    fn drop_ins_follow_by_file_name() {
        let dir = directory(&[
            ("10.conflist", INLINE),
            ("net/20-b.conf", r#"{"type": "three"}"#),
            ("net/10-a.conf", r#"{"type": "two"}"#),
            ("net/readme.txt", "not JSON"),
            ("net/30.conf/inner.conf", "not JSON"),
            ("net/40.conflist", "not JSON"),
        ]);
        let list = network(dir.path(), "net").unwrap().unwrap();
        assert_eq!(types(&list), ["one", "two", "three"]);
        // The cache keeps what stands in the file.
        assert_eq!(list.bytes, INLINE.as_bytes());
    }

    #[test]
    fn drop_ins_alone_or_not_at_all() {
        let dir = directory(&[("a.conflist", r#"{"name": "net"}"#), ("net/1.conf", r#"{"type": "two"}"#)]);
        assert_eq!(types(&file(&dir.path().join("a.conflist")).unwrap()), ["two"]);

        let only = r#"{"name": "net", "loadOnlyInlinedPlugins": true, "plugins": [{"type": "one"}]}"#;
        let dir = directory(&[("a.conflist", only), ("net/1.conf", "not JSON")]);
        assert_eq!(types(&file(&dir.path().join("a.conflist")).unwrap()), ["one"]);

        let dir = directory(&[("a.conflist", r#"{"name": "net"}"#)]);
        let error = file(&dir.path().join("a.conflist")).unwrap_err();
        assert_eq!(error.code, Code::INVALID_CONFIG);
        assert!(error.message.contains("a.conflist") && error.message.contains("no plugin configs found"), "{error}");
    }

    #[test]
    fn a_drop_in_without_type_is_an_error_that_names_it() {
        let dir = directory(&[("a.conflist", INLINE), ("net/1.conf", r#"{"name": "net"}"#)]);
        let error = network(dir.path(), "net").unwrap_err();
        assert!(error.message.contains("net/1.conf") && error.message.contains("missing 'type'"), "{error}");
    }

    #[test]
    fn the_name_of_a_network_does_not_lead_elsewhere() {
        let dir = directory(&[("d/a.conflist", r#"{"name": "../x"}"#), ("x/1.conf", r#"{"type": "two"}"#)]);
        assert_eq!(file(&dir.path().join("d/a.conflist")).unwrap_err().code, Code::INVALID_CONFIG);
    }

    #[test]
    fn lists_go_before_single_plugins() {
        let dir = directory(&[
            ("00.conf", r#"{"name": "net", "type": "single"}"#),
            ("05.json", r#"{"name": "other", "type": "json"}"#),
            ("90.conflist", INLINE),
            ("91.conflist", r#"{"name": "net", "plugins": [{"type": "later"}]}"#),
        ]);
        assert_eq!(types(&network(dir.path(), "net").unwrap().unwrap()), ["one"]);
        assert_eq!(types(&network(dir.path(), "other").unwrap().unwrap()), ["json"]);
        assert!(network(dir.path(), "none").unwrap().is_none());
        assert!(network(&dir.path().join("missing"), "net").unwrap().is_none());
    }

    #[test]
    fn a_broken_file_before_the_network_is_an_error_that_names_it() {
        let dir = directory(&[("00.conflist", "{"), ("10.conflist", INLINE)]);
        let error = network(dir.path(), "net").unwrap_err();
        assert_eq!(error.code, Code::DECODE);
        assert!(error.message.contains("00.conflist"), "{error}");

        let dir = directory(&[("00.conflist", INLINE), ("10.conflist", "{")]);
        assert!(network(dir.path(), "net").unwrap().is_some());
    }

    #[test]
    fn one_file_of_either_form() {
        let single = r#"{"name": "net", "type": "one"}"#;
        let dir = directory(&[("a.conf", INLINE), ("b.conf", single), ("c.json", single), ("d.conflist", single)]);
        for name in ["a.conf", "b.conf", "c.json"] {
            assert_eq!(types(&file(&dir.path().join(name)).unwrap()), ["one"], "{name}");
        }
        // A list without plugins, and nothing dropped in.
        assert!(file(&dir.path().join("d.conflist")).is_err());
        let error = file(&dir.path().join("e.conf")).unwrap_err();
        assert_eq!(error.code, Code::IO);
        assert!(error.message.contains("e.conf"), "{error}");
    }

    #[test]
    fn not_utf8_and_too_long() {
        let dir = directory(&[("b.conf", &" ".repeat(1_000_001))]);
        fs::write(dir.path().join("a.conf"), b"{\"name\": \"\xff\", \"type\": \"a\"}").unwrap();
        assert_eq!(file(&dir.path().join("a.conf")).unwrap_err().code, Code::DECODE);
        let error = file(&dir.path().join("b.conf")).unwrap_err();
        assert!(error.message.contains("longer than 1000000 bytes"), "{error}");
    }
}
