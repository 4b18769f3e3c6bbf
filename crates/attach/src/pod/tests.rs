//! Cases of pods.
