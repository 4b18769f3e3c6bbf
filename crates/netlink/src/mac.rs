//! MAC addresses: 6 bytes, written as Go writes them.

use std::fmt;
use std::str::FromStr;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// A random unicast address with the "locally administered" bit, as the kernel makes them (eth_random_addr).
    #[must_use]
    pub fn random() -> Mac {
        let mut bytes = [0; 6];
        // getrandom(2) does not fail for 6 bytes once the kernel has booted; should it, the kernel refuses an all-zero address by name.
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        bytes[0] = bytes[0] & 0xfe | 0x02;
        Mac(bytes)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    /// Colons, dashes or dots (0011.2233.4455), as Go's `net.ParseMAC`; 6 bytes only.
    fn from_str(s: &str) -> Result<Self, String> {
        let bad = || format!("\"{s}\" is not a MAC address (12:34:56:78:9a:bc)");
        let width = if s.contains('.') { 4 } else { 2 };
        let separator = match width {
            4 => '.',
            _ if s.contains('-') => '-',
            _ => ':',
        };
        let mut bytes = [0; 6];
        let mut at = 0;
        for group in s.split(separator) {
            if group.len() != width || !group.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
            for pair in group.as_bytes().chunks(2) {
                let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
                *bytes.get_mut(at).ok_or_else(bad)? = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
                at += 1;
            }
        }
        if at == 6 { Ok(Mac(bytes)) } else { Err(bad()) }
    }
}
