//! The command line for people. CNI calls never come here.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(feature = "kubernetes")]
use crate::host_gw;
use crate::{install, probe};

/// Plexus on a node: a CNI meta-plugin that gives a pod several networks, and the reference CNI plugins in the same program.
#[derive(Parser)]
#[command(
    name = "plexus-node",
    version,
    after_help = "Called as a CNI plugin (CNI_COMMAND set, no arguments), this program is the meta-plugin. Installed or linked under the name of \
                  a reference plugin (bridge, macvlan, flannel, host-local, static, loopback) it is that plugin."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve one CNI call: parameters in the environment, configuration on stdin, result on stdout.
    Cni,
    Install(Box<install::Options>),
    Uninstall(install::UninstallOptions),
    Probe(probe::Probe),
    #[cfg(feature = "kubernetes")]
    HostGw(host_gw::Options),
}

pub(crate) fn main(program: &OsStr, args: &[OsString]) -> ExitCode {
    let all = std::iter::once(program.to_owned()).chain(args.iter().cloned());
    let command = match Cli::try_parse_from(all) {
        Ok(cli) => cli.command,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(1));
        }
    };
    match command {
        // `cni` alone was served before; clap refuses anything behind it.
        Command::Cni => ExitCode::SUCCESS,
        Command::Install(options) => install::install(&options),
        Command::Uninstall(options) => install::uninstall(&options),
        Command::Probe(probe) => probe.run(),
        #[cfg(feature = "kubernetes")]
        Command::HostGw(options) => host_gw::run(&options),
    }
}
