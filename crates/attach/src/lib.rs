//! The meta-plugin.
