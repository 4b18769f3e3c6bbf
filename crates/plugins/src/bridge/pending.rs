//! Refuses what needs nf_tables rules until they are there.

/// `ipMasq`.
pub(super) mod masquerade {
    use cni::{Error, Result};
    use ipnet::IpNet;

    pub(in super::super) struct Masquerade<'a> {
        pub(in super::super) network: &'a str,
        pub(in super::super) container_id: &'a str,
        pub(in super::super) ifname: &'a str,
        pub(in super::super) backend: &'a str,
    }

    impl Masquerade<'_> {
        pub(in super::super) fn validate(&self) -> Result<()> {
            let _ = (self.network, self.container_id, self.ifname, self.backend);
            Err(Error::config("\"ipMasq\" is not supported yet"))
        }

        pub(in super::super) fn setup(&self, _: &[IpNet]) -> Result<()> {
            self.validate()
        }

        pub(in super::super) fn teardown(&self) -> Result<()> {
            Ok(())
        }
    }
}

/// `macspoofchk`.
pub(super) mod spoofcheck {
    use cni::{Error, Result};

    pub(in super::super) fn setup(_: &str, _: &str, _: &str, _: &str) -> Result<()> {
        Err(Error::config("\"macspoofchk\" is not supported yet"))
    }

    pub(in super::super) fn teardown(_: &str, _: &str) -> Result<()> {
        Ok(())
    }
}
