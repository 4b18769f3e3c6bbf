//! A device plugin for tests with a real kubelet: `device-plugin --resource plexus.test/nic --device d0 --device d1`, or the node part of a
//! DRA driver: `device-plugin --dra-driver nic.plexus.test`. Runs until it is ended; says `ready` once kubelet knows it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_testkit::kubelet::{DevicePlugin, DraDriver};

const USAGE: &str =
    "device-plugin (--resource NAME --device ID... [--device-info-dir DIR] | --dra-driver NAME) [--kubelet-dir DIR]";

fn main() -> Result<(), String> {
    let mut plugin = DevicePlugin { resource: String::new(), devices: Vec::new() };
    let (mut kubelet_dir, mut info_dir, mut driver) = (PathBuf::from("/var/lib/kubelet"), None, None);
    let mut args = std::env::args().skip(1);
    while let Some(key) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        match key.as_str() {
            "--resource" => plugin.resource = value,
            "--device" => plugin.devices.push(value),
            "--device-info-dir" => info_dir = Some(PathBuf::from(value)),
            "--kubelet-dir" => kubelet_dir = value.into(),
            "--dra-driver" => driver = Some(value),
            _ => return Err(USAGE.to_owned()),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    if let Some(name) = driver {
        return runtime.block_on(async {
            let _servers = DraDriver { name }.start(&kubelet_dir).map_err(|e| e.to_string())?;
            println!("ready");
            std::future::pending().await
        });
    }
    if plugin.resource.is_empty() {
        return Err(USAGE.to_owned());
    }
    if let Some(dir) = &info_dir {
        plugin.publish(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    runtime.block_on(serve(&plugin, &kubelet_dir))
}

/// Registers, and again with every kubelet that starts: it is known by its socket.
async fn serve(plugin: &DevicePlugin, kubelet_dir: &Path) -> Result<(), String> {
    let socket = kubelet_dir.join("device-plugins/kubelet.sock");
    let kubelet = || std::fs::metadata(&socket).map(|m| (m.ino(), m.ctime(), m.ctime_nsec())).ok();
    let (mut known, mut server) = (None, None);
    loop {
        let now = kubelet();
        if now.is_some() && now != known {
            // The old server's socket goes before the new one's is made.
            drop(server.take());
            match plugin.register(kubelet_dir).await {
                Ok(started) => {
                    (known, server) = (now, Some(started));
                    println!("ready");
                }
                Err(e) => eprintln!("not registered yet: {e}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
