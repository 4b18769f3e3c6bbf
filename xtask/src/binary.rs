//! The product: built static for this machine, and where it is.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::tools::Tool;
use crate::{shell, tools};

/// The top of the source tree.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// `cargo build`, by the cargo that is running us.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").current_dir(root());
    cargo
}

/// Builds `plexus-node` (release) and returns the path of the static binary: musl where the target is installed or can be added,
/// else glibc linked statically. Progress goes to stderr. This is the binary for static networks.
///
/// # Errors
/// If it does not compile.
pub(crate) fn build() -> Result<PathBuf> {
    build_with(&[])
}

/// The same with Kubernetes in it: what goes into the image.
///
/// # Errors
/// If it does not compile.
pub(crate) fn build_for_kubernetes() -> Result<PathBuf> {
    build_with(&["--features", "plexus-node/kubernetes"])
}

fn build_with(features: &[&str]) -> Result<PathBuf> {
    let arch = std::env::consts::ARCH;
    let musl = format!("{arch}-unknown-linux-musl");
    // With Kubernetes comes ring (TLS), which compiles C for the target and wants musl's own compiler wrapper.
    let compiler: &[Tool] = if features.is_empty() { &[] } else { &[Tool("musl-gcc", "musl-tools")] };
    match need_target(&musl).and_then(|()| tools::need(compiler)) {
        Ok(()) => return compile("plexus-node", cargo().args(["--release", "--target", &musl]).args(features)),
        Err(why) => eprintln!("cannot build for {musl}: {why:#}\nlinking glibc statically instead"),
    }
    // With --target, so that build scripts and proc macros are not linked statically too.
    let mut command = cargo();
    command.args(["--release", "--target", &format!("{arch}-unknown-linux-gnu")]).args(features);
    compile("plexus-node", command.env("RUSTFLAGS", "-C target-feature=+crt-static"))
}

/// Builds this tool optimised, for what it measures itself, and returns its path. With musl, where it is to be had: glibc's `posix_spawn` asks the
/// kernel for the disposition of all 64 signals before each `execve`, 0.05 ms that no runtime spends (Go's `forkExec` does not), in every call measured.
///
/// # Errors
/// If it does not compile.
pub(crate) fn build_optimised_tool() -> Result<PathBuf> {
    let musl = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let mut command = cargo();
    command.args(["--profile", "quick"]);
    if need_target(&musl).is_ok() {
        command.args(["--target", &musl]);
    }
    compile("xtask", &mut command)
}

/// `cargo build` of the package's program of the same name.
fn compile(package: &str, command: &mut Command) -> Result<PathBuf> {
    command.args(["--package", package, "--message-format=json-render-diagnostics"]);
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let mut binary = None;
    for line in BufReader::new(child.stdout.take().context("cargo's output")?).lines() {
        let message: serde_json::Value = serde_json::from_str(&line?).unwrap_or_default();
        if message["target"]["name"] == package
            && let Some(path) = message["executable"].as_str()
        {
            binary = Some(PathBuf::from(path));
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{package} does not build: cargo ended with {status}");
    }
    binary.with_context(|| format!("cargo named no executable for {package}"))
}

/// The target's standard library: there, or added with rustup, which is said.
fn need_target(triple: &str) -> Result<()> {
    let sysroot = shell::capture(Command::new("rustc").arg("--print=sysroot").current_dir(root()))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(triple).join("lib").is_dir() {
        return Ok(());
    }
    eprintln!("  adding with rustup: the target {triple}");
    shell::capture(Command::new("rustup").args(["target", "add", triple]).current_dir(root())).map(drop)
}

/// Makes `dir` a CNI plugin directory: one link to the binary per plugin name.
///
/// # Errors
/// If a link cannot be made.
pub(crate) fn link_as(binary: &Path, dir: &Path, names: &[&str]) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for name in names {
        let link = dir.join(name);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(binary, &link).with_context(|| format!("cannot link {}", link.display()))?;
    }
    Ok(())
}
