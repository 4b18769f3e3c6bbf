//! A pod without everything that we do not look at: the caches and the parser pay for each field.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::Pod as FullPod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::{Deserialize, Serialize};

/// A pod's metadata (`v1/Pod`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
}

impl Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        FullPod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        FullPod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        FullPod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        FullPod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
