//! For fuzzing: every reader of files that plugins keep or are given, fed with any bytes.

/// Reads `bytes` as each kind of file.
pub fn parse(bytes: &[u8]) {
    crate::flannel::read_any(bytes);
    crate::host_local::read_any(bytes);
}
