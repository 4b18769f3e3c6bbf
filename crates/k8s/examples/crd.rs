//! Prints the CRD's manifest: `cargo run -p plexus-k8s --example crd > deploy/base/crd.yaml`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // By way of a value: absent fields are left out.
    print!("{}", serde_saphyr::to_string(&serde_json::to_value(plexus_k8s::crd())?)?);
    Ok(())
}
