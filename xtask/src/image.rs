//! `make image`: the container image, from nothing but the static binary.
//!
//! By buildah where there is one, otherwise written here: a docker archive (`docker load`, `ctr images import`, `podman load`) is a tar of a
//! layer, a configuration and a manifest. The same binary gives the same bytes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{binary, shell};

/// The image's name in the manifests of deploy/.
const NAME: &str = concat!("plexus.local/plexus-node:", env!("CARGO_PKG_VERSION"));
/// What an image may weigh, in bytes.
const LIMIT: u64 = 15 * 1024 * 1024;
const PROGRAM: &str = "plexus-node";

/// Which image is built, and by what.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The image's name.
    #[arg(long, default_value = NAME)]
    name: String,
    /// The archive; by default target/image/plexus-node.tar.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A static binary to take instead of building it.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Do not use buildah.
    #[arg(long)]
    own: bool,
}

/// Builds the image, checks it and prints its path.
///
/// # Errors
/// If it does not build, cannot be read back, or is too large.
pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => binary::build_for_kubernetes()?,
    };
    let output = options.output.clone().unwrap_or_else(|| binary::root().join("target/image/plexus-node.tar"));
    fs::create_dir_all(output.parent().unwrap_or(Path::new(".")))?;
    let buildah = !options.own && Command::new("buildah").arg("--version").output().is_ok_and(|o| o.status.success());
    if buildah {
        by_buildah(&options.name, &binary, &output)?;
    } else {
        let temporary = output.with_extension("tar.tmp");
        write(
            &options.name,
            &fs::read(&binary).with_context(|| binary.display().to_string())?,
            &mut File::create(&temporary)?,
        )?;
        fs::rename(&temporary, &output)?;
    }
    let size = output.metadata()?.len();
    if size > LIMIT {
        bail!("the image has {size} bytes, more than the {LIMIT} it may have");
    }
    // Beside it the program alone, for nodes that get it without a container (deploy/ansible).
    let program = output.with_file_name(PROGRAM);
    let temporary = output.with_file_name(format!("{PROGRAM}.tmp"));
    fs::copy(&binary, &temporary).with_context(|| format!("copy {} to {}", binary.display(), temporary.display()))?;
    fs::rename(&temporary, &program)?;
    eprintln!(
        "{} by {}: {:.1} MB in {}",
        options.name,
        if buildah { "buildah" } else { "our own tool" },
        size as f64 / 1e6,
        output.display()
    );
    println!("{}", output.display());
    Ok(())
}

fn by_buildah(name: &str, binary: &Path, output: &Path) -> Result<()> {
    let context = tempfile::tempdir()?;
    fs::copy(binary, context.path().join(PROGRAM))?;
    let file = binary::root().join("deploy/Containerfile");
    let _ = fs::remove_file(output);
    let buildah = |args: &[&str]| shell::capture(Command::new("buildah").args(args));
    buildah(&[
        "build",
        "--timestamp=0",
        "--file",
        &file.to_string_lossy(),
        "--tag",
        name,
        &context.path().to_string_lossy(),
    ])?;
    buildah(&["push", name, &format!("docker-archive:{}:{name}", output.display())])?;
    Ok(())
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The docker archive of an image with one file.
fn write(name: &str, binary: &[u8], output: &mut impl io::Write) -> Result<()> {
    let layer = tar(&[(PROGRAM, 0o755, binary)])?;
    let diff_id = hash(&layer);
    let config = serde_json::to_vec(&json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": [format!("/{PROGRAM}")], "Cmd": ["install"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": format!("COPY {PROGRAM} /")}],
        "created": "1970-01-01T00:00:00Z",
    }))?;
    let config_name = format!("{}.json", hash(&config));
    let layer_name = format!("{diff_id}/layer.tar");
    let manifest: Value = json!([{"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}]);
    let manifest = serde_json::to_vec(&manifest)?;
    let archive =
        tar(&[(&config_name, 0o644, &config), (&layer_name, 0o644, &layer), ("manifest.json", 0o644, &manifest)])?;
    output.write_all(&archive)?;
    Ok(())
}

/// A tar of root's files from 1970.
fn tar(files: &[(&str, u32, &[u8])]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, path, *content)?;
    }
    Ok(builder.into_inner()?)
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;

    fn files(archive: &[u8]) -> BTreeMap<String, (u32, u64, Vec<u8>)> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            files.insert(path, (entry.header().mode().unwrap(), entry.header().mtime().unwrap(), content));
        }
        files
    }

    /// What `docker load` and containerd's import rely on.
    #[test]
    fn an_archive_names_what_is_in_it_by_its_hash() {
        let binary = vec![7; 100_000];
        let mut archive = Vec::new();
        write("plexus.local/x:1", &binary, &mut archive).unwrap();
        let files = files(&archive);
        let manifest: Value = serde_json::from_slice(&files["manifest.json"].2).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!(["plexus.local/x:1"]));
        let config = &files[manifest[0]["Config"].as_str().unwrap()].2;
        assert_eq!(manifest[0]["Config"], format!("{}.json", hash(config)));
        let config: Value = serde_json::from_slice(config).unwrap();
        let layers = manifest[0]["Layers"].as_array().unwrap();
        assert_eq!(layers.len(), 1);
        let layer = &files[layers[0].as_str().unwrap()].2;
        assert_eq!(config["rootfs"]["diff_ids"], json!([format!("sha256:{}", hash(layer))]));
        assert_eq!(config["config"]["Entrypoint"], json!(["/plexus-node"]));
        assert_eq!(config["os"], "linux");
        let inner = self::files(layer);
        assert_eq!(inner.keys().collect::<Vec<_>>(), ["plexus-node"]);
        assert_eq!(inner["plexus-node"], (0o755, 0, binary.clone()));

        let mut again = Vec::new();
        write("plexus.local/x:1", &binary, &mut again).unwrap();
        assert!(again == archive, "not the same bytes");
    }

    #[test]
    fn hashes_are_sha256() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn an_image_that_is_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join("binary");
        let mut options = Options {
            name: NAME.to_owned(),
            output: Some(dir.path().join("o.tar")),
            binary: Some(binary.clone()),
            own: true,
        };
        fs::write(&binary, vec![1; 1000]).unwrap();
        run(&options).unwrap();
        assert_eq!(fs::read(dir.path().join(PROGRAM)).unwrap(), [1; 1000], "the program beside the archive");
        fs::write(&binary, vec![1; LIMIT as usize]).unwrap();
        options.output = Some(dir.path().join("large.tar"));
        assert!(run(&options).unwrap_err().to_string().contains("more than"));
    }
}
