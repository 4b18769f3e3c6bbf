//! Names by which rules are found again: hashes, chains, comments, as the reference plugins make them (`pkg/utils/utils.go` there).

use std::fmt::Write as _;

use sha2::{Digest, Sha512};

use super::Masquerade;

/// The first `length` characters of the SHA-512 of `text`, in hexadecimal.
fn hash(text: &str, length: usize) -> String {
    let mut hex = String::with_capacity(length + 1);
    for byte in Sha512::digest(text.as_bytes()).iter().take(length.div_ceil(2)) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex.truncate(length);
    hex
}

/// What the nftables comments of a network begin with.
pub(super) fn network(network: &str) -> String {
    hash(network, 16)
}

/// What the nftables comments of an attachment begin with.
pub(super) fn instance(of: &Masquerade<'_>) -> String {
    instance_of(of.network, of.ifname, of.container_id)
}

/// The same by its parts.
pub(super) fn instance_of(network: &str, ifname: &str, container_id: &str) -> String {
    format!("{}-{}", hash(network, 16), hash(&format!("{ifname}:{container_id}"), 16))
}

/// The nftables comment of an attachment; nft(8)'s limit cuts it, which leaves the hashes whole.
pub(super) fn comment(of: &Masquerade<'_>) -> String {
    let plain = |s: &str| s.replace('"', "");
    let (network, ifname, id) = (plain(of.network), plain(of.ifname), plain(of.container_id));
    format!("{}, net: {network}, if: {ifname}, id: {id}", instance(of))
}

/// The iptables chain of a container in a network.
pub(super) fn chain(network: &str, container_id: &str) -> String {
    format!("CNI-{}", hash(&format!("{network}{container_id}"), 24))
}

/// A chain that has the form of [`chain`]. Port mappings have others (`CNI-DN-...`).
pub(super) fn is_chain(name: &str) -> bool {
    name.strip_prefix("CNI-")
        .is_some_and(|h| h.len() == 24 && h.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// The iptables comment of a container in a network.
pub(super) fn iptables_comment(network: &str, container_id: &str) -> String {
    format!("{}{}", iptables_comment_of(network), &quoted(container_id)[1..])
}

/// What the iptables comments of a network begin with: all but the container's id.
pub(super) fn iptables_comment_of(network: &str) -> String {
    format!("name: {} id: \"", quoted(network))
}

/// Go's `%q`, for what can stand in a name.
fn quoted(s: &str) -> String {
    let mut quoted = String::from("\"");
    for c in s.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if u32::from(c) < 0x20 || c == '\x7f' => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: Masquerade<'_> = Masquerade { network: "mynet", container_id: "abc123", ifname: "eth0", backend: None };

    /// As the bridge plugin 1.9.1 names them.
    #[test]
    fn names_are_those_of_the_originals() {
        assert_eq!(chain("mynet", "abc123"), "CNI-70a29d9dc18bc4d652ea5d59");
        assert!(is_chain("CNI-70a29d9dc18bc4d652ea5d59"));
        assert!(!is_chain("CNI-DN-70a29d9dc18bc4d652ea5") && !is_chain("CNI-HOSTPORT-MASQ"));
        assert_eq!(comment(&OF), "d23676b4f2d9fe04-ebce0e3dd4dafae3, net: mynet, if: eth0, id: abc123");
        assert!(comment(&OF).starts_with(&network("mynet")));
        assert_eq!(iptables_comment("mynet", "abc123"), "name: \"mynet\" id: \"abc123\"");
        assert!(iptables_comment("mynet", "abc123").starts_with(&iptables_comment_of("mynet")));
        // A network whose name only begins alike is another one.
        assert!(!iptables_comment("mynet2", "abc123").starts_with(&iptables_comment_of("mynet")));
    }

    #[test]
    fn quotes_and_control_characters_do_no_harm() {
        let nasty = Masquerade { network: "a\"b\n-A X", ..OF };
        assert!(!comment(&nasty).contains('"'));
        assert_eq!(iptables_comment(nasty.network, "c"), "name: \"a\\\"b\\x0a-A X\" id: \"c\"");
    }
}
