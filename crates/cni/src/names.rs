//! What may be a container's, a network's and an interface's name.

use crate::file::NAME_LIMIT;
use crate::{Code, Error, Result};

/// The longest interface name, in bytes (`IFNAMSIZ` without the final zero).
const INTERFACE_LIMIT: usize = 15;

/// So much of a bad name is quoted, in characters: a message is to be read.
const QUOTED: usize = 64;

/// `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`, as the specification has it for containers and networks.
fn well_formed(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// The name as a message has it.
fn quoted(name: &str) -> String {
    let mut shown: String = name.chars().take(QUOTED).collect();
    if shown.len() < name.len() {
        shown.push_str("...");
    }
    shown
}

/// What is wrong with the name, if anything.
fn wrong(name: &str, what: &str, of: &str) -> Option<String> {
    if !well_formed(name) {
        return Some(format!("invalid characters {what}"));
    }
    (name.len() > NAME_LIMIT).then(|| format!("{of} is longer than {NAME_LIMIT} bytes"))
}

/// Is this a container ID?
///
/// # Errors
/// Code 3 if empty; code 4 with the ID in the details otherwise.
pub fn container_id(id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(Error::new(Code::UNKNOWN_CONTAINER, "missing containerID"));
    }
    match wrong(id, "in containerID", "containerID") {
        Some(message) => Err(Error::new(Code::INVALID_ENVIRONMENT, message).with_details(quoted(id))),
        None => Ok(()),
    }
}

/// Can an attachment be cached? Its file is named after all three (`<network>-<container>-<interface>`), so what is refused here would be
/// made by the plugins and then not be remembered, nor be deleted.
///
/// # Errors
/// Code 7 with the lengths.
pub fn attachment(network: &str, container_id: &str, ifname: &str) -> Result<()> {
    let length = [network.len(), container_id.len(), ifname.len()].iter().sum::<usize>() + 2;
    if length <= NAME_LIMIT {
        return Ok(());
    }
    let message = format!(
        "the name of network \"{}\" is too long: with containerID and interface it becomes a file's name of {length} bytes, and \
         {NAME_LIMIT} is the most",
        quoted(network)
    );
    Err(Error::config(message).with_details(format!("choose a name that is {} bytes shorter", length - NAME_LIMIT)))
}

/// Is this a network's name?
///
/// # Errors
/// Code 7; the name is in the details.
pub fn network(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::config("missing network name"));
    }
    match wrong(name, "found in network name", "network name") {
        Some(message) => Err(Error::config(message).with_details(quoted(name))),
        None => Ok(()),
    }
}

/// Is this an interface's name? The rule is the kernel's (`dev_valid_name`), for which the byte A0 is white space too, whatever character it
/// is a part of (`à`).
///
/// # Errors
/// Code 4; the name is in the details.
pub fn interface(name: &str) -> Result<()> {
    let message = if name.is_empty() {
        "interface name is empty"
    } else if name.len() > INTERFACE_LIMIT {
        "interface name is too long"
    } else if name == "." || name == ".." {
        "interface name is . or .."
    } else if name.contains(|c: char| matches!(c, '/' | ':' | '\0') || c.is_whitespace())
        || name.bytes().any(|b| b == 0xa0)
    {
        "interface name contains / or : or whitespace characters"
    } else {
        return Ok(());
    };
    Err(Error::new(Code::INVALID_ENVIRONMENT, message)
        .with_details(format!("{:?}: an interface name has 1 to {INTERFACE_LIMIT} bytes", quoted(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_networks() {
        for good in ["a", "0", "cni-loopback", "A_b.c-d", &"f".repeat(64)] {
            assert!(container_id(good).is_ok() && network(good).is_ok(), "{good}");
        }
        for bad in ["-a", ".a", "_a", "a/b", "../x", "a b", "a\n", "\u{e9}", "a\0", "a:b"] {
            let error = container_id(bad).unwrap_err();
            assert_eq!((error.code, error.details.as_str()), (Code::INVALID_ENVIRONMENT, bad));
            let error = network(bad).unwrap_err();
            assert_eq!((error.code, error.details.as_str()), (Code::INVALID_CONFIG, bad));
        }
        // Too long for a file's name; a message does not quote all of it.
        let long = "a".repeat(251);
        assert!(container_id(&long[1..]).is_ok() && network(&long[1..]).is_ok());
        for error in [container_id(&long).unwrap_err(), network(&long).unwrap_err()] {
            assert!(error.message.contains("longer than 250 bytes") && error.details.len() < 80, "{error}");
        }
        assert_eq!(container_id("").unwrap_err().code, Code::UNKNOWN_CONTAINER);
        assert_eq!(network("").unwrap_err().code, Code::INVALID_CONFIG);
    }

    #[test]
    fn the_three_together_are_a_file_name() {
        let id = "f".repeat(64);
        let longest = "n".repeat(250 - 64 - 4 - 2);
        assert!(attachment(&longest, &id, "eth0").is_ok());
        let error = attachment(&longest, &id, "eth10").unwrap_err();
        assert_eq!(error.code, Code::INVALID_CONFIG);
        assert!(error.message.contains("251 bytes") && error.details.contains("1 bytes shorter"), "{error}");
    }

    #[test]
    fn interfaces() {
        for good in ["eth0", "lo", "a.b", "...", "123456789012345", "\u{e9}t\u{e9}", "-x"] {
            assert!(interface(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "1234567890123456", "a/b", "a:b", "a b", "a\tb", "a\u{a0}b", "a\u{2003}b", "\0", "\u{e0}"]
        {
            assert_eq!(interface(bad).unwrap_err().code, Code::INVALID_ENVIRONMENT, "{bad:?}");
        }
        // Bytes count, not letters.
        assert!(interface(&"\u{e9}".repeat(8)).is_err());
    }
}
