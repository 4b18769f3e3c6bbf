//! What to do where the API server does not accept who we are, or we not who it is: in the words of what we were given.

use std::error::Error;
use std::io;

use tokio_rustls::rustls::{self, CertificateError};

/// What was read to reach the API server, as a message names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// Where it stands: `kubeconfig /etc/...`, or the service account.
    pub(crate) place: String,
    /// The key that holds the certificate authority, and the file if it is in one of its own. `None`: those of the system are trusted.
    pub(crate) authority: Option<String>,
    /// By what the API server knows us.
    pub(crate) identity: Identity,
}

/// By what an API server knows who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A bearer token, perhaps with a certificate beside.
    Token,
    /// A client certificate alone: the key, and the file if it is in one of its own.
    Certificate(String),
    /// Nothing.
    Nobody,
}

/// Why the API server's certificate was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// No authority that we trust has signed it.
    Issuer,
    /// It is for other names.
    Name,
    /// Its time is over, or has not come.
    Time,
    /// It is no certificate for a server.
    Kind,
}

impl Flaw {
    /// What TLS found wrong with the certificate, if that is what the error is about. None of it is cured by waiting.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Option<Flaw> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
                return Some(Flaw::from(why));
            }
            // What an I/O error holds it passes over as its cause, and names the cause of that.
            let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = match held {
                Some(held) => Some(held),
                None => error.source(),
            };
        }
        None
    }
}

impl From<&CertificateError> for Flaw {
    fn from(error: &CertificateError) -> Flaw {
        use CertificateError as E;
        match error {
            // An authority of the same name, as those of all clusters that kubeadm makes, and with another key: the signature is wrong.
            E::UnknownIssuer | E::BadSignature => Flaw::Issuer,
            E::NotValidForName | E::NotValidForNameContext { .. } => Flaw::Name,
            E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. } => Flaw::Time,
            _ => Flaw::Kind,
        }
    }
}

impl Given {
    /// For a certificate of the API server that was refused.
    pub(crate) fn untrusted(&self, flaw: Flaw) -> String {
        let place = &self.place;
        match (flaw, &self.authority) {
            (Flaw::Issuer, Some(key)) => format!(
                "the certificate authority of {place} ({key}) has not signed the API server's certificate: put the cluster's there, \
                 which is in ConfigMap kube-root-ca.crt of every namespace, or correct the server's address"
            ),
            (Flaw::Issuer, None) => format!(
                "{place} names no certificate authority, and none that this node trusts has signed the API server's certificate: set key \
                 \"certificate-authority-data\" to the cluster's, which is in ConfigMap kube-root-ca.crt of every namespace"
            ),
            (Flaw::Name, _) => format!(
                "reach the API server by a name that its certificate has: correct key \"server\" of {place}, or set its key \
                 \"tls-server-name\""
            ),
            (Flaw::Time, _) => "renew the API server's certificate, or correct this node's clock".to_owned(),
            (Flaw::Kind, _) => {
                "the API server needs a certificate for servers: X.509 v3, with subject alternative names, not an authority's own".to_owned()
            }
        }
    }

    /// For 401: the API server does not know who asks.
    pub(crate) fn unauthorized(&self) -> String {
        let place = &self.place;
        match &self.identity {
            Identity::Token => format!(
                "the token of {place} is not valid any more; does the installer's pod, which renews it, run on this node?"
            ),
            Identity::Certificate(key) => format!(
                "the client certificate of {place} ({key}) has expired, or the API server does not trust the authority that signed it; \
                 renew it, signed by the cluster's client CA, or use a token"
            ),
            Identity::Nobody => format!(
                "{place} names neither a token nor a client certificate, and the API server does not answer just anyone; \
                 give its user one"
            ),
        }
    }
}
