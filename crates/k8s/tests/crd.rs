//! The manifest of the CRD in deploy/ is current.

#[test]
fn the_manifest_is_what_the_code_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/base/crd.yaml");
    let manifest: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(&std::fs::read_to_string(path).unwrap()).unwrap();
    let current = serde_json::to_value(plexus_k8s::crd()).unwrap();
    assert_eq!(manifest, [current], "cargo run -p plexus-k8s --example crd > deploy/base/crd.yaml");
}
