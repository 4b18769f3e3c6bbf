//! What to do where the API server does not accept who we are: in the words of what we were given.

/// What was read to reach the API server, as a message names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// Where it stands: `kubeconfig /etc/...`, or the service account.
    pub(crate) place: String,
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

impl Given {
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
