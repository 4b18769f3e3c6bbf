//! `ipMasq`: what leaves a container's network leaves with the host's address.
//!
//! Owns: which backend makes the rules, and that every rule of an attachment goes when it goes, whichever backend or plugin made it. The
//! rules themselves are those of the reference plugins (`pkg/ip/ipmasq_*` there), byte for byte: `nftables` in its file, `iptables` in its
//! own; `iptables_nft` removes what an nf_tables-based `iptables` made without starting it; `names` has chains and comments.

mod iptables;
mod iptables_nft;
mod names;
mod nftables;
mod program;

use std::time::Duration;

use cni::{Error, Result};
use ipnet::IpNet;
use netlink::nft::{Batch, Nft};
use rustix::io::Errno;

use crate::{Attachment, every, kernel};

/// How often a change is worked out anew because another process changed the ruleset meanwhile.
const ATTEMPTS: u32 = 12;

/// The masquerade rules of one attachment, in the calling thread's network namespace (the host's).
#[derive(Clone, Copy, Debug)]
pub struct Masquerade<'a> {
    /// The network's name.
    pub network: &'a str,
    /// `CNI_CONTAINERID`.
    pub container_id: &'a str,
    /// `CNI_IFNAME`. The iptables backend cannot tell two attachments of a container to one network apart: its names have no interface.
    pub ifname: &'a str,
    /// The key `ipMasqBackend`; `None` where it is not set: nftables, and iptables only on a kernel without nf_tables.
    pub backend: Option<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Backend {
    Nftables,
    Iptables,
}

impl Masquerade<'_> {
    /// The backend is one that there is. To be asked before anything is made.
    ///
    /// # Errors
    /// `unknown ipmasq backend`.
    pub fn validate(&self) -> Result<()> {
        self.chosen().map(drop)
    }

    fn chosen(&self) -> Result<Option<Backend>> {
        match self.backend {
            None => Ok(None),
            Some("nftables") => Ok(Some(Backend::Nftables)),
            Some("iptables") => Ok(Some(Backend::Iptables)),
            Some(other) => Err(Error::config(format!(
                "unknown ipmasq backend {other:?}: the key ipMasqBackend is \"nftables\", \"iptables\" or absent"
            ))),
        }
    }

    /// Makes the rules for these addresses of the container, each with its network's prefix length. Rules that are there already are
    /// kept, those of an earlier attempt replaced. On an error no rule is left behind.
    ///
    /// # Errors
    /// An unknown backend; what the kernel or `iptables` refused.
    pub fn setup(&self, addresses: &[IpNet]) -> Result<()> {
        let made = match self.chosen()? {
            Some(Backend::Iptables) => iptables::setup(self, addresses),
            Some(Backend::Nftables) => self.setup_nftables(addresses).map_err(|e| {
                if unavailable(&e) {
                    kernel(e).context("ipMasqBackend \"nftables\" needs a kernel with nf_tables")
                } else {
                    kernel(e)
                }
            }),
            None => match self.setup_nftables(addresses) {
                Err(e) if unavailable(&e) => iptables::setup(self, addresses),
                done => done.map_err(kernel),
            },
        };
        made.map_err(|e| {
            let failed = e.context(format_args!("failed to set up masquerading for network \"{}\"", self.network));
            match self.teardown() {
                Ok(()) => failed,
                Err(left) => failed.with_details(left.to_string()),
            }
        })
    }

    fn setup_nftables(&self, addresses: &[IpNet]) -> netlink::Result<()> {
        let mut nft = Nft::open()?;
        change(&mut nft, |nft, batch| nftables::add(nft, batch, self, addresses))
    }

    /// Removes the attachment's rules, whichever backend made them. It needs no addresses, so it works when the container is gone.
    /// Success if there are none.
    ///
    /// # Errors
    /// What could not be removed, after everything else was. A backend that does not work on this machine is no error: it cannot have
    /// made rules.
    pub fn teardown(&self) -> Result<()> {
        let (instance, chain) = (names::instance(self), names::chain(self.network, self.container_id));
        let nf_tables = in_nf_tables(|nft, batch| {
            nftables::remove(nft, batch, |comment| comment.starts_with(&instance))?;
            iptables_nft::remove(nft, batch, &chain)
        });
        let legacy = iptables::remove_legacy(&chain);
        every([nf_tables, legacy]).map_err(|e| {
            e.context(format_args!(
                "failed to remove the masquerade rules of container {} in network \"{}\"",
                self.container_id, self.network
            ))
        })
    }

    /// Removes the rules of all attachments of `network` but the valid ones, whichever backend made them.
    ///
    /// # Errors
    /// As [`Masquerade::teardown`].
    pub fn gc(network: &str, valid: &[Attachment]) -> Result<()> {
        let instances: Vec<String> =
            valid.iter().map(|a| names::instance_of(network, &a.ifname, &a.container_id)).collect();
        let chains: Vec<String> = valid.iter().map(|a| names::chain(network, &a.container_id)).collect();
        let stale = |chain: &str| !chains.iter().any(|c| c == chain);
        let prefix = names::network(network) + "-";
        let nf_tables = in_nf_tables(|nft, batch| {
            nftables::remove(nft, batch, |comment| {
                comment.starts_with(&prefix) && !instances.iter().any(|valid| comment.starts_with(valid))
            })?;
            iptables_nft::remove_others(nft, batch, network, stale)
        });
        every([nf_tables, iptables::remove_others_legacy(network, stale)])
            .map_err(|e| e.context(format_args!("failed to clean up the masquerade rules of network \"{network}\"")))
    }
}

/// Plans a change from what is there and commits it; plans anew when another process was faster. Bounded.
pub(crate) fn change(nft: &mut Nft, plan: impl Fn(&mut Nft, &mut Batch) -> netlink::Result<()>) -> netlink::Result<()> {
    let transient = [Errno::NOENT, Errno::EXIST, Errno::BUSY, Errno::AGAIN, Errno::RESTART, Errno::INTR];
    let mut attempt = 0;
    loop {
        let mut batch = Batch::new();
        let done = plan(nft, &mut batch).and_then(|()| nft.commit(&batch));
        match done {
            Err(e) if attempt < ATTEMPTS && transient.iter().any(|t| e.is(*t)) => {
                std::thread::sleep(Duration::from_micros(100 << attempt.min(8)));
                attempt += 1;
            }
            done => return done,
        }
    }
}

/// [`change`] on a socket of its own; nothing to do where there is no nf_tables.
pub(crate) fn in_nf_tables(plan: impl Fn(&mut Nft, &mut Batch) -> netlink::Result<()>) -> Result<()> {
    match Nft::open().and_then(|mut nft| change(&mut nft, plan)) {
        Err(e) if unavailable(&e) => Ok(()),
        done => done.map_err(kernel),
    }
}

/// What a kernel without nfnetlink, without nf_tables, or without its `inet` family says.
fn unavailable(e: &netlink::Error) -> bool {
    [Errno::PROTONOSUPPORT, Errno::OPNOTSUPP, Errno::AFNOSUPPORT].iter().any(|known| e.is(*known))
}
