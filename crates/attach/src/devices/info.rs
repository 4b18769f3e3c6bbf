//! Device information: files that say what a device is (NPWG device-info specification 1.1.0). A device plugin writes one for each device,
//! the network's plugins get a copy to read or complete, and what it says in the end goes into the pod's network status.
//!
//! Owns: where these files are, and that none outlives its attachment: the record names the copy before it is made.

use std::path::{Path, PathBuf};

use cni::file::{self, Durability};
use cni::{Code, Error, Json, Result};

use super::Device;

/// The capability by which a plugin asks for the file's path.
pub const CAPABILITY: &str = "CNIDeviceInfoFile";

/// A file larger than this describes no device.
const MAX_SIZE: u64 = 64 << 10;
/// Longest name of a file whose temporary name (`.` and `.tmp`) is one, too (`NAME_MAX`).
const MAX_NAME: usize = 250;

/// The directory of these files; there may be none.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    dir: PathBuf,
}

impl DeviceInfo {
    /// Files below `dir`: device plugins' in `dp`, attachments' in `cni`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> DeviceInfo {
        DeviceInfo { dir: dir.into() }
    }

    /// The file of an attachment, as Multus names it: `network` is `namespace/name` of its definition, or the network's name.
    ///
    /// # Errors
    /// If the names are too long for the name of a file.
    pub fn path(&self, network: &str, container: &str, ifname: &str) -> Result<PathBuf> {
        let name = format!("{network}-{container}_{ifname}").replace('/', "-");
        if name.len() > MAX_NAME {
            let message = format!(
                "the device information file \"{name}\" would have more than {MAX_NAME} bytes: choose a shorter name"
            );
            return Err(Error::config(message));
        }
        Ok(self.attachments().join(name))
    }

    /// Copies what the device's plugin says to the file that the attachment's arguments name. `false` if it says nothing.
    ///
    /// # Errors
    /// Code 5 naming the file.
    pub fn copy(&self, device: &Device, capability_args: &Json) -> Result<bool> {
        let Some(to) = self.of(capability_args) else { return Ok(false) };
        let name = format!("{}-{}-device.json", device.resource, device.id).replace('/', "-");
        let Some(bytes) = file::read(&self.dir.join("dp").join(name), MAX_SIZE)? else { return Ok(false) };
        if let Some(dir) = to.parent().filter(|d| !d.is_dir()) {
            file::create_directory(dir, 0o755)?;
        }
        // What is there is of a killed ADD or of an earlier container, and tells of another device.
        file::write_atomic(&to, &bytes, 0o444, Durability::Cached)?;
        Ok(true)
    }

    /// What the attachment's file says of the device; `None` if there is none.
    ///
    /// # Errors
    /// Code 5 if it cannot be read, 6 if it is no JSON object.
    pub fn read(&self, capability_args: &Json) -> Result<Option<Json>> {
        let Some(path) = self.of(capability_args) else { return Ok(None) };
        let Some(bytes) = file::read(&path, MAX_SIZE)? else { return Ok(None) };
        let wrong =
            |what: String| Error::new(Code::DECODE, format!("device information file {}: {what}", path.display()));
        let info = Json::parse(&bytes).map_err(|e| wrong(e.to_string()))?;
        if info.members().is_none() { Err(wrong("it holds no JSON object".to_owned())) } else { Ok(Some(info)) }
    }

    /// Removes the attachment's file, if it has one.
    ///
    /// # Errors
    /// Code 5 naming the file.
    pub fn remove(&self, capability_args: &Json) -> Result<()> {
        self.of(capability_args).map_or(Ok(()), |path| file::remove(&path, Durability::Cached).map(drop))
    }

    /// The file that an attachment's arguments name: ours, that is in our directory. Any other path is the runtime's own business.
    fn of(&self, capability_args: &Json) -> Option<PathBuf> {
        let path = Path::new(capability_args.get(CAPABILITY)?.as_str()?);
        let name = path.file_name().filter(|n| n.len() <= MAX_NAME)?;
        (path.parent() == Some(self.attachments().as_path())).then(|| self.attachments().join(name))
    }

    fn attachments(&self) -> PathBuf {
        self.dir.join("cni")
    }
}
