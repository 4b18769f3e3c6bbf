//! An object of the API server without everything that we do not look at: the parser pays for each field.

use std::borrow::Cow;
use std::marker::PhantomData;

use k8s_openapi::api::core::v1::Pod as WholePod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::{NetworkAttachmentDefinition, NetworkAttachmentDefinitionSpec};

/// A pod's metadata (`v1/Pod`).
pub(crate) type Pod = Object<WholePod>;
/// A definition, with or without a `spec`.
pub(crate) type Definition = Object<NetworkAttachmentDefinition, NetworkAttachmentDefinitionSpec>;

/// An object of kind `K`.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "S: Default + Deserialize<'de>")]
pub(crate) struct Object<K, S = IgnoredAny> {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: S,
    #[serde(skip)]
    kind: PhantomData<K>,
}

impl<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>, S> Resource for Object<K, S> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
