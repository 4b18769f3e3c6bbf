//! The meta-plugin's own configuration: Multus's keys, and the few of ours.
//!
//! Owns: reading and checking everything but the delegates, which [`crate::plan`] resolves, so that a DEL from a record works with a
//! configuration whose delegates have become unreadable.

use std::path::PathBuf;
use std::time::Duration;

use cni::json::from_json;
use cni::{Code, Error, Json, Result, Version};
use serde::Deserialize;

/// The configuration of the meta-plugin.
#[derive(Clone, Debug)]
pub struct Config {
    /// `name`: the network's name.
    pub name: String,
    /// `cniVersion`: in which the result is returned; 0.1.0 where there is none.
    pub version: Version,
    /// There is a `cniVersion`: delegates without one inherit it.
    pub has_version: bool,
    /// `confDir`: where networks are looked up by name.
    pub conf_dir: PathBuf,
    /// `cniDir`: records, and libcni's cache in its `results`.
    pub cni_dir: PathBuf,
    /// `binDir`: searched for plugins before `CNI_PATH`.
    pub bin_dir: PathBuf,
    /// `delegates`: as they stand; not looked at where there is a cluster network.
    pub delegates: Vec<Json>,
    /// `clusterNetwork`: the default network, by name or path; empty for static delegates.
    pub cluster_network: String,
    /// `defaultNetworks`: more networks for every pod outside the system namespaces.
    pub default_networks: Vec<String>,
    /// `auxiliaryCNIChainName`: a last network made of the drop-in files of this name; empty for none.
    pub auxiliary_chain: String,
    /// `readinessindicatorfile`: the default network is ready when this file exists.
    pub readiness_file: Option<PathBuf>,
    /// `kubeconfig`: how the API server is reached.
    pub kubeconfig: String,
    /// `namespaceIsolation`: a pod may use the networks of its own and the global namespaces only.
    pub namespace_isolation: bool,
    /// `globalNamespaces`: whose networks every pod may use.
    pub global_namespaces: Vec<String>,
    /// `systemNamespaces`: whose pods do not get the default networks.
    pub system_namespaces: Vec<String>,
    /// `multusNamespace`: where networks without a namespace are looked up.
    pub multus_namespace: String,
    /// `secondaryDefaultRoutes`: what becomes of a secondary network's default route that the default network provides too. Where the key
    /// is absent, the form of the configuration decides.
    pub secondary_default_routes: Option<SecondaryDefaultRoutes>,
    /// `capabilityMismatch`: a pod's wish that no plugin of the network can hear is an error (`"error"`), or lost (`"ignore"`, as Multus does).
    pub capability_mismatch_is_error: bool,
    /// `missingDevice`: a network whose resource has no device for it is an error (`"error"`), or attached without one (`"ignore"`, as
    /// Multus does).
    pub missing_device_is_error: bool,
    /// `kubeletDir`: kubelet's directory, where it tells about devices.
    pub kubelet_dir: PathBuf,
    /// `deviceInfoDir`: where device plugins describe their devices, and networks find a copy.
    pub device_info_dir: PathBuf,
    /// `runtimeConfigTo`: which networks get the runtime's capability arguments.
    pub runtime_config_to: RuntimeConfigTo,
    /// `inProcess`: plugins that are compiled in are run in process (`"auto"`), or as programs like any other (`"never"`).
    pub in_process: bool,
    /// `delegateTimeout`: how long a plugin that is a program may run.
    pub delegate_timeout: Duration,
    /// Where and what to log.
    pub log: Log,
}

/// What becomes of a secondary network's default route that the default network provides too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondaryDefaultRoutes {
    /// It is removed: the default network's stands.
    Drop,
    /// Both stay, and the kernel chooses.
    Keep,
}

/// Which networks get the runtime's capability arguments (port mappings, bandwidth...).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeConfigTo {
    /// The default network only, as the specification of several networks says.
    #[default]
    Default,
    /// All of them, as Multus does.
    All,
}

/// Where and what to log: Multus's keys, and `logFormat`.
#[derive(Clone, Debug)]
pub struct Log {
    /// `logFile`.
    pub file: Option<PathBuf>,
    /// `logLevel` as it stands; empty where absent.
    pub level: String,
    /// `logToStderr`.
    pub to_stderr: bool,
    /// `logFormat`.
    pub format: LogFormat,
    /// `logOptions.maxAge`: backups older than this many days are removed.
    pub max_age_days: u32,
    /// `logOptions.maxSize`: the size in megabytes at which the file is rotated.
    pub max_size_mb: u32,
    /// `logOptions.maxBackups`: how many rotated files are kept.
    pub max_backups: u32,
    /// `logOptions.compress`: rotated files are compressed.
    pub compress: bool,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum InProcess {
    #[default]
    Auto,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mismatch {
    #[default]
    Error,
    Ignore,
}

/// The keys as they stand. Keys are matched without regard to case.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    name: String,
    cni_version: String,
    conf_dir: String,
    cni_dir: String,
    bin_dir: String,
    delegates: Vec<Json>,
    cluster_network: String,
    default_networks: Vec<String>,
    #[serde(rename = "auxiliaryCNIChainName")]
    auxiliary_chain: String,
    readinessindicatorfile: String,
    kubeconfig: String,
    namespace_isolation: bool,
    global_namespaces: String,
    system_namespaces: Vec<String>,
    multus_namespace: String,
    /// Accepted: a failed DEL is always reported and its record always kept, which is what the key asks for.
    retry_delete_on_error: bool,
    secondary_default_routes: Option<SecondaryDefaultRoutes>,
    runtime_config_to: RuntimeConfigTo,
    capability_mismatch: Mismatch,
    missing_device: Mismatch,
    kubelet_dir: String,
    device_info_dir: String,
    in_process: InProcess,
    delegate_timeout: u32,
    log_file: String,
    log_level: String,
    log_to_stderr: bool,
    log_format: LogFormat,
    log_options: LogOptions,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LogOptions {
    max_age: u32,
    max_size: u32,
    max_backups: u32,
    compress: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions { max_age: 5, max_size: 100, max_backups: 5, compress: true }
    }
}

impl Default for Wire {
    fn default() -> Self {
        Wire {
            name: String::new(),
            cni_version: String::new(),
            conf_dir: "/etc/cni/multus/net.d".into(),
            cni_dir: "/var/lib/cni/multus".into(),
            bin_dir: "/opt/cni/bin".into(),
            delegates: Vec::new(),
            cluster_network: String::new(),
            default_networks: Vec::new(),
            auxiliary_chain: String::new(),
            readinessindicatorfile: String::new(),
            kubeconfig: String::new(),
            namespace_isolation: false,
            global_namespaces: String::new(),
            system_namespaces: vec!["kube-system".into()],
            multus_namespace: "kube-system".into(),
            retry_delete_on_error: false,
            secondary_default_routes: None,
            runtime_config_to: RuntimeConfigTo::default(),
            capability_mismatch: Mismatch::default(),
            missing_device: Mismatch::default(),
            kubelet_dir: "/var/lib/kubelet".into(),
            device_info_dir: "/var/run/k8s.cni.cncf.io/devinfo".into(),
            in_process: InProcess::default(),
            delegate_timeout: 60,
            log_file: String::new(),
            log_level: String::new(),
            log_to_stderr: true,
            log_format: LogFormat::default(),
            log_options: LogOptions::default(),
        }
    }
}

impl Config {
    /// Reads the meta-plugin's configuration.
    ///
    /// # Errors
    /// Code 6 naming a key of the wrong type, code 7 naming a key whose value is impossible, code 1 for an unknown `cniVersion`.
    pub fn read(conf: &Json) -> Result<Config> {
        if conf.members().is_none() {
            return Err(Error::new(Code::DECODE, "the network configuration must be a JSON object"));
        }
        let wire: Wire = from_json(conf)?;
        if wire.delegate_timeout == 0 {
            return Err(Error::config("key \"delegateTimeout\" must be at least 1 (seconds)"));
        }
        for (key, dir) in [
            ("confDir", &wire.conf_dir),
            ("cniDir", &wire.cni_dir),
            ("binDir", &wire.bin_dir),
            ("kubeletDir", &wire.kubelet_dir),
            ("deviceInfoDir", &wire.device_info_dir),
        ] {
            if dir.is_empty() {
                return Err(Error::config(format!("key \"{key}\" is empty: give a directory, or leave the key out")));
            }
        }
        let global = wire.global_namespaces.split(',').map(str::trim).filter(|n| !n.is_empty());
        let mut global_namespaces: Vec<String> = global.map(str::to_owned).collect();
        if global_namespaces.is_empty() {
            global_namespaces.push("default".to_owned());
        }
        let path = |p: String| Some(p).filter(|p| !p.is_empty()).map(PathBuf::from);
        Ok(Config {
            name: wire.name,
            version: wire.cni_version.parse()?,
            has_version: !wire.cni_version.is_empty(),
            conf_dir: wire.conf_dir.into(),
            cni_dir: wire.cni_dir.into(),
            bin_dir: wire.bin_dir.into(),
            delegates: wire.delegates,
            cluster_network: wire.cluster_network,
            default_networks: wire.default_networks,
            auxiliary_chain: wire.auxiliary_chain,
            readiness_file: path(wire.readinessindicatorfile),
            kubeconfig: wire.kubeconfig,
            namespace_isolation: wire.namespace_isolation,
            global_namespaces,
            system_namespaces: wire.system_namespaces,
            multus_namespace: wire.multus_namespace,
            secondary_default_routes: wire.secondary_default_routes,
            runtime_config_to: wire.runtime_config_to,
            capability_mismatch_is_error: wire.capability_mismatch == Mismatch::Error,
            missing_device_is_error: wire.missing_device == Mismatch::Error,
            kubelet_dir: wire.kubelet_dir.into(),
            device_info_dir: wire.device_info_dir.into(),
            in_process: wire.in_process == InProcess::Auto,
            delegate_timeout: Duration::from_secs(wire.delegate_timeout.into()),
            log: Log {
                file: path(wire.log_file),
                level: wire.log_level,
                to_stderr: wire.log_to_stderr,
                format: wire.log_format,
                max_age_days: wire.log_options.max_age,
                max_size_mb: wire.log_options.max_size,
                max_backups: wire.log_options.max_backups,
                compress: wire.log_options.compress,
            },
        })
    }
}

#[cfg(test)]
mod tests;
