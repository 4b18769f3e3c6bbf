//! What plugins keep on disk or are given there: flannel's subnet.env and stored configurations, host-local's index.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| plugins::files::parse(data));
