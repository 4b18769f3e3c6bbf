//! What the installer is told on its command line. Names and defaults are those of Multus's thin entrypoint.

use std::path::{Path, PathBuf};

use clap::ArgAction;
use cni::{Error, Result};

use super::Host;
use super::kubeconfig::Server;
use super::state;
use crate::probe::STATUS_FILE;

/// Where every pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Where the node finds the kubeconfig that is made for it.
const KUBECONFIG: &str = "/etc/cni/net.d/multus.d/multus.kubeconfig";

/// The node's directories, as this process sees them.
#[derive(Debug, clap::Args)]
struct Directories {
    /// Where the runtime looks for CNI plugins.
    #[arg(long, value_name = "DIR", default_value = "/host/opt/cni/bin")]
    cni_bin_dir: PathBuf,
    /// Where the runtime looks for network configurations.
    #[arg(long, value_name = "DIR", default_value = "/host/etc/cni/net.d")]
    cni_conf_dir: PathBuf,
}

impl Directories {
    fn directories(&self) -> state::Directories {
        state::Directories { bin: self.cni_bin_dir.clone(), conf: self.cni_conf_dir.clone() }
    }
}

/// Puts the node back as it was before `install`. Stop the installer first: it would install again.
#[derive(Debug, clap::Args)]
pub(crate) struct UninstallOptions {
    #[command(flatten)]
    directories: Directories,
    /// Then wait to be told to end, for use in a DaemonSet.
    #[arg(long)]
    pub(super) wait: bool,
    /// With --wait: where `plexus-node probe` finds that it is done.
    #[arg(long, value_name = "FILE", default_value = STATUS_FILE)]
    pub(super) status_file: PathBuf,
}

impl UninstallOptions {
    pub(super) fn directories(&self) -> state::Directories {
        self.directories.directories()
    }
}

/// A switch as pflag has it: `--x`, `--x=true`, `--x=false`.
macro_rules! switches {
    ($(#[$struct_doc:meta])* $visibility:vis struct $name:ident { $($(#[$doc:meta])* $field:ident = $default:literal),* $(,)? }) => {
        $(#[$struct_doc])*
        #[derive(Debug, clap::Args)]
        $visibility struct $name {
            $($(#[$doc])*
            #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true",
                  default_value = $default, value_name = "true|false", hide_possible_values = true)]
            $field: bool,)*
        }
    };
}

switches! {
    /// The installer's switches.
    pub(crate) struct Switches {
        /// Pods may use the networks of their own and the global namespaces only.
        namespace_isolation = "false",
        /// Log to stderr, which the runtime logs.
        multus_log_to_stderr = "true",
        /// Name our network as the primary network is named, instead of multus-cni-network.
        override_network_name = "false",
        /// At the end (SIGTERM), remove our configuration and undo renaming.
        cleanup_config_on_exit = "false",
        /// Rename the primary network's file to FILE.old, so that the runtime cannot take it.
        rename_conf_file = "false",
        /// Install no programs.
        skip_multus_binary_copy = "false",
        /// Install the reference plugins (bridge, macvlan, host-local, ...) that are missing, as names of this program.
        install_missing_plugins = "false",
        /// Do not check the API server's certificate.
        skip_tls_verify = "false",
    }
}

/// Installs programs, kubeconfig and configuration on this node, and keeps them right as the primary network and the service account change.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    directories: Directories,
    #[command(flatten)]
    switches: Switches,
    /// Install and end, with an error if the node did not become ready.
    #[arg(long)]
    pub(super) once: bool,
    /// `auto`: the configuration is generated from the primary network. Otherwise a file that is installed under its name, and again when it
    /// changes.
    #[arg(long, value_name = "auto|FILE", default_value = "auto")]
    multus_conf_file: PathBuf,
    /// Where the primary network's configuration is; by default --cni-conf-dir.
    #[arg(long, value_name = "DIR")]
    multus_autoconfig_dir: Option<PathBuf>,
    /// The primary network's file in that directory; by default the first by name.
    #[arg(long, value_name = "NAME", default_value = "")]
    multus_master_cni_file_name: String,
    /// The cniVersion that the primary network must have.
    #[arg(long, value_name = "VERSION", default_value = "")]
    cni_version: String,
    /// Key "kubeconfig": where the node finds it. In a pod it is made of the pod's service account, in multus.d of --cni-conf-dir.
    #[arg(long, value_name = "FILE")]
    multus_kubeconfig_file_host: Option<String>,
    /// Key "globalNamespaces": whose networks every pod may use, separated by commas.
    #[arg(long, value_name = "NAMES", default_value = "")]
    global_namespaces: String,
    /// Key "logLevel": debug, verbose, error, panic.
    #[arg(long, value_name = "LEVEL", default_value = "", value_parser = ["", "debug", "verbose", "error", "panic"])]
    multus_log_level: String,
    /// Key "logFile", as the node sees it.
    #[arg(long, value_name = "FILE", default_value = "")]
    multus_log_file: String,
    /// Key "readinessindicatorfile", as the node sees it: the primary network is ready when it exists. Our configuration is not published
    /// before, where the file's directory can be seen from here.
    #[arg(long, value_name = "FILE", default_value = "")]
    readiness_indicator_file: String,
    /// Key "binDir": where plugins are looked for before the runtime's directories.
    #[arg(long, value_name = "DIR", default_value = "")]
    additional_bin_dir: String,
    /// Where the node's directories are mounted here; left out of paths that are meant for the node.
    #[arg(long, value_name = "DIR", default_value = "/host")]
    host_prefix: PathBuf,
    /// Where `plexus-node probe` finds how it is.
    #[arg(long, value_name = "FILE", default_value = STATUS_FILE)]
    pub(super) status_file: PathBuf,
    /// The pod's service account.
    #[arg(long, value_name = "DIR", default_value = SERVICE_ACCOUNT)]
    service_account_dir: PathBuf,
}

/// The options, checked and completed.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(super) directories: state::Directories,
    pub(super) host: Host,
    /// A configuration that is installed as it is.
    pub(super) given: Option<PathBuf>,
    pub(super) autoconfig_dir: PathBuf,
    pub(super) master: Option<String>,
    pub(super) cni_version: String,
    /// In a pod: where the API server is.
    pub(super) server: Option<Server>,
    pub(super) service_account: PathBuf,
    pub(super) kubeconfig: Option<String>,
    pub(super) global_namespaces: String,
    pub(super) log_level: String,
    pub(super) log_file: String,
    pub(super) log_to_stderr: bool,
    pub(super) readiness_indicator_file: String,
    pub(super) additional_bin_dir: String,
    pub(super) namespace_isolation: bool,
    pub(super) override_network_name: bool,
    pub(super) cleanup_config_on_exit: bool,
    pub(super) rename_conf_file: bool,
    pub(super) skip_binaries: bool,
    pub(super) reference_plugins: bool,
}

impl Options {
    /// # Errors
    /// Names the options that do not go together.
    pub(super) fn settings(&self) -> Result<Settings> {
        let directories = self.directories.directories();
        let switches = &self.switches;
        let autoconfig_dir = self.multus_autoconfig_dir.clone().unwrap_or_else(|| directories.conf.clone());
        if switches.rename_conf_file && autoconfig_dir != directories.conf {
            return Err(Error::config(
                "--rename-conf-file is for a primary network that the runtime finds: leave out --multus-autoconfig-dir",
            ));
        }
        let master = Some(&self.multus_master_cni_file_name).filter(|name| !name.is_empty());
        if master.is_some_and(|name| name.contains('/')) {
            return Err(Error::config("--multus-master-cni-file-name is the name of a file, not a path"));
        }
        let given = Some(&self.multus_conf_file).filter(|file| *file != Path::new("auto"));
        let server = Server::from_env(|key| std::env::var(key).ok(), switches.skip_tls_verify);
        let kubeconfig = match &self.multus_kubeconfig_file_host {
            Some(file) => Some(file.clone()).filter(|file| !file.is_empty()),
            None => server.as_ref().map(|_| KUBECONFIG.to_owned()),
        };
        Ok(Settings {
            host: Host::new(&self.host_prefix, &directories.conf),
            directories,
            given: given.cloned(),
            autoconfig_dir,
            master: master.cloned(),
            cni_version: self.cni_version.clone(),
            server,
            service_account: self.service_account_dir.clone(),
            kubeconfig,
            global_namespaces: self.global_namespaces.clone(),
            log_level: self.multus_log_level.clone(),
            log_file: self.multus_log_file.clone(),
            log_to_stderr: switches.multus_log_to_stderr,
            readiness_indicator_file: self.readiness_indicator_file.clone(),
            additional_bin_dir: self.additional_bin_dir.clone(),
            namespace_isolation: switches.namespace_isolation,
            override_network_name: switches.override_network_name,
            cleanup_config_on_exit: switches.cleanup_config_on_exit,
            rename_conf_file: switches.rename_conf_file,
            skip_binaries: switches.skip_multus_binary_copy,
            reference_plugins: switches.install_missing_plugins,
        })
    }
}
