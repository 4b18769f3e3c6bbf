//! `passthru`: does nothing and says so. Multus puts it in front of the plugins of `auxiliaryCNIChainName`, which have no first of their own.

use cni::{Call, CniResult, Invoke, Result, Version};

use crate::Plugin;

/// The plugin of type `passthru`.
#[derive(Debug)]
pub struct Passthru;

impl Plugin for Passthru {
    fn name(&self) -> &'static str {
        "passthru"
    }

    fn versions(&self) -> &'static [Version] {
        // Earlier versions cannot say a result without an address.
        &Version::ALL[2..]
    }

    fn add(&self, call: &Call, _delegates: &dyn Invoke) -> Result<CniResult> {
        call.version().map(CniResult::empty)
    }

    fn del(&self, _call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        Ok(())
    }

    fn check(&self, _call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        Ok(())
    }
}
