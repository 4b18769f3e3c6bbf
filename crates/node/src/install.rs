//! `plexus-node install` and `uninstall`: a node gets the programs, a kubeconfig and a configuration, keeps them as its primary network and its
//! service account change, and gets back what it had.
//!
//! One pass compares what should be with what is, and changes only what differs; the installer is a pass each second. A pass can be killed
//! anywhere: the next one, or `uninstall`, goes on from there ([`state`]). The parts: [`binaries`], [`kubeconfig`], [`primary`] (which network),
//! [`conf`] (the configuration).

mod binaries;
mod conf;
mod kubeconfig;
mod options;
mod primary;
mod state;

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cni::file::{self, Durability};
use cni::{Code, Error, Json, Result};

use kubeconfig::Server;
pub(crate) use options::{Options, Settings, UninstallOptions};
use state::{Directories, Place, State};

use crate::probe;
use crate::wait::Ending;

/// How often is looked for changes. A look is some system calls.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long another installer may be at it. A pass takes milliseconds, the first one as long as a program takes to be copied.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// The directory in the configuration directory that holds the kubeconfig, and its name there.
const PRIVATE: &str = "multus.d";
const KUBECONFIG: &str = "multus.d/multus.kubeconfig";
/// The name of a generated configuration: before all others in a runtime's order, and a list.
const GENERATED: &str = "00-multus.conflist";

/// How paths of this process and of the node go together: the node's directories may be mounted under a prefix.
#[derive(Clone, Debug)]
struct Host {
    prefix: Option<PathBuf>,
}

impl Host {
    /// The node is mounted under `prefix` if its configuration directory is.
    fn new(prefix: &Path, conf: &Path) -> Host {
        Host { prefix: conf.starts_with(prefix).then(|| prefix.to_owned()).filter(|p| p != Path::new("/")) }
    }

    /// The node's name for what is seen as `path` here.
    fn path(&self, path: &Path) -> PathBuf {
        let inner = self.prefix.as_ref().and_then(|prefix| path.strip_prefix(prefix).ok());
        inner.map_or_else(|| path.to_owned(), |inner| Path::new("/").join(inner))
    }

    /// What the node calls `path`, as it is seen here; it may lie outside of what is mounted.
    fn seen(&self, path: &Path) -> PathBuf {
        let inner = path.strip_prefix("/").unwrap_or(path);
        self.prefix.as_ref().map_or_else(|| path.to_owned(), |prefix| prefix.join(inner))
    }
}

/// Installs, and keeps it so until it is told to end.
pub(crate) fn install(options: &Options) -> ExitCode {
    crate::log::for_people();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let settings = options.settings()?;
    let mut installer = Installer { settings, seen: binaries::Seen::default() };
    if options.once {
        return installer.pass();
    }
    let ending = Ending::listen()?;
    let mut said = None;
    loop {
        let done = installer.pass().err().map(|e| e.to_string());
        if said.as_ref() != Some(&done) {
            match &done {
                None => tracing::info!("the node is ready"),
                Some(problem) => tracing::warn!("not ready: {problem}"),
            }
        }
        if let Err(e) = probe::write(&options.status_file, done.as_deref())
            && said.is_none()
        {
            tracing::warn!("probes will fail: {e}");
        }
        said = Some(done);
        if ending.comes_within(INTERVAL)? {
            break;
        }
    }
    let _ = fs::remove_file(&options.status_file);
    if installer.settings.cleanup_config_on_exit {
        installer.cleanup()?;
    }
    Ok(())
}

/// Puts the node back as it was.
pub(crate) fn uninstall(options: &UninstallOptions) -> ExitCode {
    crate::log::for_people();
    let directories = options.directories();
    match put_back(&directories) {
        Ok(true) => tracing::info!(
            "uninstalled: {} and {} are as they were",
            directories.conf.display(),
            directories.bin.display()
        ),
        Ok(false) => tracing::info!("nothing is installed, according to {}", directories.conf.display()),
        Err(e) => {
            tracing::error!("{e}; run it again when that is repaired");
            return ExitCode::FAILURE;
        }
    }
    if options.wait {
        return wait_to_end(&directories, &options.status_file);
    }
    ExitCode::SUCCESS
}

/// `false`: there was nothing to put back.
fn put_back(directories: &Directories) -> Result<bool> {
    if !directories.conf.is_dir() {
        return Ok(false);
    }
    let _lock = lock(directories)?;
    let mut state = State::load(directories)?;
    let something = !state.is_empty();
    let renames = state.undo_renames();
    undo(&mut state, |_| true).and(renames)?;
    Ok(something)
}

/// Tells probes that all is done until the process is told to end: a DaemonSet would start it again at once. The installer's pod may end after
/// its DaemonSet is gone and this one runs; what it installed meanwhile is put back too.
fn wait_to_end(directories: &Directories, status_file: &Path) -> ExitCode {
    let wait = || -> Result<()> {
        let ending = Ending::listen()?;
        loop {
            let problem = match put_back(directories) {
                Ok(false) => None,
                Ok(true) => Some("an installer still runs on this node and installed again; stop it".to_owned()),
                Err(e) => Some(e.to_string()),
            };
            if let Some(problem) = &problem {
                tracing::warn!("{problem}");
            }
            probe::write(status_file, problem.as_deref())?;
            if ending.comes_within(INTERVAL)? {
                return Ok(());
            }
        }
    };
    match wait() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// Puts back everything that `which` names: configurations first, so that no runtime calls a program that is gone, and
/// what is in a directory before the directory. One that fails does not keep the others.
fn undo(state: &mut State, which: impl Fn(&Place) -> bool) -> Result<()> {
    let mut first = Ok(());
    let mut places = state.places();
    places.retain(which);
    places.sort_by_key(|place| std::cmp::Reverse((is_configuration(place), place.clone())));
    for place in places {
        let restored = state.restore(&place, |path| match &place {
            Place::Bin(_) => binaries::is_ours(path),
            Place::Conf(name) if name == KUBECONFIG => true,
            Place::Conf(_) => file::read(path, cni::env::STDIN_LIMIT)
                .is_ok_and(|bytes| bytes.is_some_and(|b| Json::parse(&b).is_ok_and(|d| primary::is_ours(&d)))),
        });
        first = first.and(restored);
    }
    let saved = state.save();
    first.and(saved)
}

fn is_configuration(place: &Place) -> bool {
    matches!(place, Place::Conf(name) if name != PRIVATE && name != KUBECONFIG)
}

/// One installer at a time changes a node: a rollout may let two pods overlap, and `uninstall` may come between.
fn lock(directories: &Directories) -> Result<File> {
    let path = &directories.conf;
    let dir = File::open(path).map_err(|e| state::failed("lock", path, &e))?;
    let start = Instant::now();
    loop {
        match dir.try_lock() {
            Ok(()) => return Ok(dir),
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_WAIT => {
                std::thread::sleep(Duration::from_millis(10))
            }
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "{} is locked by another process for {} s: find it (lslocks); is there a second installer on this node?",
                    path.display(),
                    LOCK_WAIT.as_secs()
                );
                return Err(Error::new(Code::TRY_AGAIN, message));
            }
            Err(TryLockError::Error(e)) => return Err(state::failed("lock", path, &e)),
        }
    }
}

struct Installer {
    settings: Settings,
    seen: binaries::Seen,
}

impl Installer {
    /// Makes the node what it should be. An error says why it is not (yet); what could be done without it is done.
    fn pass(&mut self) -> Result<()> {
        let directories = self.settings.directories.clone();
        for dir in [&directories.conf, &directories.bin] {
            file::create_directory(dir, 0o755)?;
        }
        let _lock = lock(&directories)?;
        let mut state = State::load(&directories)?;
        let programs = if self.settings.skip_binaries {
            Vec::new()
        } else {
            binaries::places(&state, self.settings.reference_plugins)
        };
        let output = self.output()?;
        let server = self.settings.server.clone().filter(|_| self.needs_kubeconfig(&state));
        let mut wanted = programs.clone();
        wanted.push(Place::Conf(output.clone()));
        if server.is_some() {
            wanted.extend([PRIVATE, KUBECONFIG].map(|name| Place::Conf(name.to_owned())));
        }
        let names = primary::configurations(&directories.conf)?;
        // A configuration that Multus generated would be used instead of ours.
        let mut aside: Vec<Place> = names.into_iter().filter(|n| primary::is_generated(n)).map(Place::Conf).collect();
        aside.retain(|place| !wanted.contains(place));
        // What an earlier configuration of the installer made and this one does not.
        let is_set_aside = |place: &Place| matches!(place, Place::Conf(name) if primary::is_generated(name));
        let obsolete: Vec<Place> =
            state.places().into_iter().filter(|p| !wanted.contains(p) && !is_set_aside(p)).collect();

        let programs = binaries::install(&mut state, &programs, &mut self.seen);
        let kubeconfig = server.map(|server| self.kubeconfig(&mut state, &server)).transpose();
        programs.and(kubeconfig)?;
        self.configure(&mut state, &Place::Conf(output.clone()))?;
        for place in aside {
            state.remember(&place)?;
            file::remove(&state.path(&place), Durability::Synced)?;
            tracing::info!("set aside {}: it would be used instead of {output}", state.path(&place).display());
        }
        if !obsolete.is_empty() {
            undo(&mut state, |place| obsolete.contains(place))?;
        }
        let first = primary::configurations(&directories.conf)?.into_iter().next();
        match first.filter(|first| *first != output) {
            None => Ok(()),
            Some(first) => Err(Error::config(format!(
                "the runtime takes the first configuration by name, {first}, instead of {output}: pods come up without the networks that they \
                 ask for; use --rename-conf-file, or give {first} a name that comes later"
            ))),
        }
    }

    /// The name of our configuration's file.
    fn output(&self) -> Result<String> {
        let Some(given) = &self.settings.given else { return Ok(GENERATED.to_owned()) };
        let name = given.file_name().and_then(|n| n.to_str());
        name.map(str::to_owned)
            .ok_or_else(|| Error::config(format!("--multus-conf-file: {} has no file name", given.display())))
    }

    /// A given configuration may do without, or have another; then no credential lies about on the node.
    fn needs_kubeconfig(&self, state: &State) -> bool {
        let Some(given) = &self.settings.given else { return true };
        let ours = self.settings.kubeconfig.as_deref();
        let named = conf::given(given).ok().and_then(|bytes| Json::parse(&bytes).ok()).map(|document| {
            let plugins = document.get("plugins").and_then(Json::elements).unwrap_or_default();
            let mut all = std::iter::once(&document).chain(plugins);
            all.any(|c| c.get("kubeconfig").and_then(Json::as_str).is_some_and(|file| Some(file) == ours))
        });
        named.unwrap_or_else(|| state.places().contains(&Place::Conf(KUBECONFIG.to_owned())))
    }

    fn kubeconfig(&self, state: &mut State, server: &Server) -> Result<()> {
        let bytes = kubeconfig::generate(server, &self.settings.service_account)?;
        let dir = Place::Conf(PRIVATE.to_owned());
        state.remember(&dir)?;
        file::create_directory(&state.path(&dir), 0o700)?;
        put(state, &Place::Conf(KUBECONFIG.to_owned()), &bytes)
    }

    /// Writes our configuration, after it was found good.
    fn configure(&self, state: &mut State, place: &Place) -> Result<()> {
        let settings = &self.settings;
        let (bytes, renamed) = match &settings.given {
            Some(given) => (conf::given(given)?, None),
            None => {
                if !settings.rename_conf_file {
                    state.undo_renames()?;
                }
                let mut primary =
                    primary::choose(&settings.autoconfig_dir, settings.master.as_deref(), state.renamed())?;
                let mut renamed = None;
                if settings.rename_conf_file && !primary.is_renamed {
                    let old = state.add_name(&primary.name)?;
                    renamed = Some(primary.name.clone());
                    primary.path = primary.path.with_file_name(old);
                }
                (conf::generate(settings, &primary, settings.kubeconfig.as_deref())?, renamed)
            }
        };
        let name = state.path(place);
        let name = name.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        conf::validate(name, &bytes, &settings.host).map_err(|e| match &settings.given {
            Some(given) => {
                e.context(format!("{} is not installed (what was installed before stays in use)", given.display()))
            }
            None => e.context("the generated configuration is not installed"),
        })?;
        self.readiness()?;
        put(state, place, &bytes)?;
        renamed.map_or(Ok(()), |name| state.drop_name(&name))
    }

    /// The primary network says by a file when it is ready; nothing is published before. Where that file cannot be seen from here, each ADD
    /// waits for it.
    fn readiness(&self) -> Result<()> {
        let file = Path::new(&self.settings.readiness_indicator_file);
        let seen = self.settings.host.seen(file);
        if file.as_os_str().is_empty() || seen.exists() || !seen.parent().is_some_and(Path::is_dir) {
            return Ok(());
        }
        Err(Error::new(
            Code::TRY_AGAIN,
            format!("the primary network is not ready: {} (--readiness-indicator-file) is not there", file.display()),
        ))
    }

    /// At the end, with `--cleanup-config-on-exit`: configurations as they were; programs and kubeconfig stay for pods that are deleted later.
    fn cleanup(&self) -> Result<()> {
        let _lock = lock(&self.settings.directories)?;
        let mut state = State::load(&self.settings.directories)?;
        let renames = state.undo_renames();
        undo(&mut state, is_configuration).and(renames)
    }
}

/// Writes a file of ours unless it is as it should be.
fn put(state: &mut State, place: &Place, bytes: &[u8]) -> Result<()> {
    const MODE: u32 = 0o600;
    let path = state.path(place);
    let right = file::read(&path, cni::env::STDIN_LIMIT).is_ok_and(|found| found.as_deref() == Some(bytes));
    let mode = path.symlink_metadata().ok().filter(fs::Metadata::is_file).map(|m| m.permissions().mode() & 0o777);
    if right && mode == Some(MODE) {
        return Ok(());
    }
    state.remember(place)?;
    file::write_atomic(&path, bytes, MODE, Durability::Synced)?;
    tracing::info!("wrote {}", path.display());
    Ok(())
}
