//! The Go originals that conformance tests and the benchmark compare with.
//!
//! Owns: building them (containernetworking/plugins 1.9.1, its last flannel, Multus 4.3.0) into the user's cache, where they survive
//! `cargo clean`, or falling back to Debian's containernetworking-plugins where there is no Go.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a build puts what belongs to these versions; another set of versions is another directory.
const STAMP: &str = "plugins-1.9.1_flannel-0.9.1_multus-4.3.0";

/// The reference plugins: packages and their version.
const PLUGINS: (&[&str], &str) = (
    &[
        "plugins/main/bridge",
        "plugins/main/macvlan",
        "plugins/main/loopback",
        "plugins/ipam/host-local",
        "plugins/ipam/static",
    ],
    "v1.9.1",
);
/// The last release of the reference plugins that had flannel. Its later home, flannel-io/cni-plugin, is not served by the module proxy.
const FLANNEL: (&[&str], &str) = (&["plugins/meta/flannel"], "v0.9.1");
const REPOSITORY: &str = "github.com/containernetworking/plugins";

/// Debian's and Ubuntu's containernetworking-plugins (1.1.1: cniVersion up to 1.0.0, no flannel).
const PACKAGED: &str = "/usr/lib/cni";

/// The originals at hand.
#[derive(Debug)]
pub(crate) struct Originals {
    /// The directory with the reference plugins (a `CNI_PATH`).
    pub(crate) plugins: PathBuf,
    /// Their version.
    pub(crate) version: &'static str,
    /// The Multus program, where it could be built.
    pub(crate) multus: Option<PathBuf>,
}

/// Finds or builds the originals. What could not be built is said on stderr; building needs the Go module proxy once.
///
/// # Errors
/// If there is neither Go nor the distribution's package, or the cache cannot be written.
pub(crate) fn build() -> Result<Originals, String> {
    let cache = cache_dir()?;
    let dir = cache.join(STAMP);
    if !dir.join("bridge").exists() {
        fs::create_dir_all(&cache).map_err(|e| format!("create {}: {e}", cache.display()))?;
        if let Err(why) = build_plugins(&cache, &dir) {
            if !Path::new(PACKAGED).join("bridge").exists() {
                return Err(format!(
                    "the reference plugins cannot be built ({why}), and {PACKAGED} has none: install Go, or the package \
                     containernetworking-plugins"
                ));
            }
            eprintln!("the reference plugins cannot be built ({why}): using those of {PACKAGED}");
            return Ok(Originals { plugins: PACKAGED.into(), version: "1.1.1", multus: None });
        }
    }
    let multus = dir.join("multus");
    if !multus.exists()
        && let Err(why) = build_multus(&cache, &dir)
    {
        eprintln!("Multus cannot be built: {why}");
    }
    let multus = Some(multus).filter(|m| m.exists());
    Ok(Originals { plugins: dir, version: "1.9.1", multus })
}

/// `cargo xtask originals`: prints the directory, the plugins' version, and the path of Multus (an empty line without it).
///
/// # Errors
/// As [`build`].
pub(crate) fn print() -> Result<(), String> {
    let originals = build()?;
    println!("{}", originals.plugins.display());
    println!("{}", originals.version);
    println!("{}", originals.multus.unwrap_or_default().display());
    Ok(())
}

fn cache_dir() -> Result<PathBuf, String> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let base = base.ok_or("neither XDG_CACHE_HOME nor HOME says where the cache is")?;
    Ok(base.join("plexus").join("originals"))
}

/// Builds into a directory beside `dir` and renames: an interrupted build is never taken for a whole one.
fn build_plugins(cache: &Path, dir: &Path) -> Result<(), String> {
    let build = tempfile::tempdir_in(cache).map_err(|e| format!("create a directory in {}: {e}", cache.display()))?;
    install(build.path(), PLUGINS)?;
    if let Err(why) = install(build.path(), FLANNEL) {
        eprintln!("flannel cannot be built: {why}");
    }
    let built = build.keep();
    fs::rename(&built, dir).or_else(|e| {
        let _ = fs::remove_dir_all(&built);
        // Another build was faster.
        if dir.join("bridge").exists() { Ok(()) } else { Err(format!("rename to {}: {e}", dir.display())) }
    })
}

fn install(bin: &Path, (packages, version): (&[&str], &str)) -> Result<(), String> {
    let mut go = go();
    go.arg("install").env("GOBIN", bin).current_dir(bin);
    go.args(packages.iter().map(|p| format!("{REPOSITORY}/{p}@{version}")));
    run(go)
}

/// `go install` would need the list of Multus's versions, which the proxy does not serve; a module that requires it does not.
fn build_multus(cache: &Path, dir: &Path) -> Result<(), String> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/originals/multus");
    let built =
        tempfile::NamedTempFile::new_in(cache).map_err(|e| format!("create a file in {}: {e}", cache.display()))?;
    let mut go = go();
    go.arg("build").arg("-o").arg(built.path()).arg("gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus");
    run({
        go.current_dir(module);
        go
    })?;
    built.persist(dir.join("multus")).map(|_| ()).map_err(|e| format!("keep the built program: {e}"))
}

fn go() -> Command {
    // Go's usual place, in case only root's bare PATH is set.
    let installed = Path::new("/usr/local/go/bin/go");
    let mut go = if Command::new("go").arg("version").output().is_err() && installed.exists() {
        Command::new(installed)
    } else {
        Command::new("go")
    };
    go.env("CGO_ENABLED", "0").env("GOFLAGS", "-buildvcs=false");
    go
}

fn run(mut command: Command) -> Result<(), String> {
    let out = command.output().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let last = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no message").trim();
    Err(format!("{} ended with {}: {last}", command.get_program().display(), out.status))
}
