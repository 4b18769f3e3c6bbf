//! The programs of other projects that a task needs: found, or installed where the machine is a Debian or Ubuntu.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::originals::{self, Originals};
use crate::{shell, term};

/// A program and the Debian package that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool(pub(crate) &'static str, pub(crate) &'static str);

/// What the demo runs.
pub(crate) const DEMO: &[Tool] = &[
    Tool("ip", "iproute2"),
    Tool("nft", "nftables"),
    Tool("ping", "iputils-ping"),
    Tool("curl", "curl"),
    Tool("unshare", "util-linux"),
];

/// What the tests run, beside the demo's.
pub(crate) const TEST: &[Tool] = &[
    Tool("ip", "iproute2"),
    Tool("bridge", "iproute2"),
    Tool("nft", "nftables"),
    Tool("iptables", "iptables"),
    Tool("ping", "iputils-ping"),
    Tool("tcpdump", "tcpdump"),
    Tool("strace", "strace"),
    Tool("sysctl", "procps"),
    Tool("nsenter", "util-linux"),
    Tool("mkfs.ext4", "e2fsprogs"),
    Tool("mount", "mount"),
];

/// What the benchmark runs.
pub(crate) const BENCH: &[Tool] = &[
    Tool("ip", "iproute2"),
    Tool("strace", "strace"),
    Tool("unshare", "util-linux"),
    Tool("mkfs.ext4", "e2fsprogs"),
    Tool("mount", "mount"),
    // GNU time: peak memory of a process from a parent small enough not to be measured itself.
    Tool("/usr/bin/time", "time"),
];

/// Makes sure that every tool is there and says what was installed.
///
/// # Errors
/// Names what is missing and how to get it, where it cannot be installed.
pub(crate) fn need(tools: &[Tool]) -> Result<()> {
    let missing: Vec<Tool> = tools.iter().copied().filter(|t| find(t.0).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|t| t.1).collect();
    packages.sort_unstable();
    packages.dedup();
    let list = packages.join(" ");
    if find("apt-get").is_none() {
        let names: Vec<&str> = missing.iter().map(|t| t.0).collect();
        bail!("missing programs: {}; install them (Debian's packages: {list})", names.join(", "));
    }
    root("installing missing programs")?;
    // Not on stdout, where callers of `cargo xtask image` read the file's name.
    eprintln!("  installing with apt-get: {}", term::bold(&list));
    // The package lists of a fresh machine are empty or old: fetched only when needed.
    if install(&packages).is_err() {
        shell::capture(Command::new("apt-get").args(["-q", "update"]))?;
        install(&packages)?;
    }
    match missing.iter().find(|t| find(t.0).is_none()) {
        Some(Tool(name, package)) => bail!("package {package} was installed, yet {name} is not in PATH"),
        None => Ok(()),
    }
}

/// The Go originals: built, or where that is not possible Debian's package of them, installed if need be.
///
/// # Errors
/// If neither is to be had.
pub(crate) fn originals() -> Result<Originals> {
    originals::build().or_else(|why| {
        // Why is said by the second try, which takes the package's; here only if there is no package either.
        need(&[Tool("/usr/lib/cni/bridge", "containernetworking-plugins")]).context(why)?;
        originals::build().map_err(anyhow::Error::msg)
    })
}

fn install(packages: &[&str]) -> Result<String> {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-y", "--no-install-recommends", "install"])
        .args(packages);
    shell::capture(&mut apt)
}

/// Where a program is: an absolute path as it stands, else by PATH.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Some(PathBuf::from(name)).filter(|p| p.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|p| is_executable(p))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// An error unless this is root.
pub(crate) fn root(what: &str) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("{what} needs root (it makes network namespaces and installs packages): run it with sudo, or as root");
    }
    Ok(())
}
