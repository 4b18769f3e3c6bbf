//! The CRD NetworkAttachmentDefinition (`k8s.cni.cncf.io/v1`), with the names and short names that Multus gives it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A network that pods may ask for.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "k8s.cni.cncf.io",
    version = "v1",
    kind = "NetworkAttachmentDefinition",
    plural = "network-attachment-definitions",
    singular = "network-attachment-definition",
    shortname = "net-attach-def",
    shortname = "nad",
    namespaced,
    doc = "NetworkAttachmentDefinition is a CRD schema specified by the Network Plumbing Working Group to express the intent for attaching pods to one or more logical or physical networks."
)]
pub struct NetworkAttachmentDefinitionSpec {
    /// A CNI configuration or configuration list as JSON text; where it is empty, a file of the node whose `name` is the definition's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

/// The CRD's manifest: what `deploy/base/crd.yaml` holds.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let mut crd = NetworkAttachmentDefinition::crd();
    // A definition without `spec` is one whose configuration is a file of the node; Multus's own schema does not require it either.
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            schema.required = None;
        }
    }
    crd
}
