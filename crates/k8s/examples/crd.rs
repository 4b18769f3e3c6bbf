//! Prints the CRD's manifest: `cargo run -p plexus-k8s --example crd > deploy/base/crd.yaml`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", serde_json::to_string_pretty(&plexus_k8s::crd())?);
    Ok(())
}
