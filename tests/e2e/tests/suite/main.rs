//! Plexus on a real Kubernetes, a file per feature. `make e2e` runs it; README.md in `tests/e2e` says how.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api_server;
mod article;
mod auxiliary;
mod capabilities;
mod configuration;
mod default_routes;
mod density;
mod devices;
mod host_ports;
mod installer;
mod invalid;
mod networks;
mod pods;
mod requests;
mod restart;
