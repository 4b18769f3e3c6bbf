//go:build tools

// Package multus holds nothing: it makes Multus a requirement of this module.
package multus

import _ "gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus"
