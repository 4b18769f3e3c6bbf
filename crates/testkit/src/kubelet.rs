//! What talks to kubelet over Unix sockets: gRPC servers that answer from a function, a device plugin, a DRA driver. For tests of devices,
//! with a kubelet that is one or with one that is only its socket.

mod device_plugin;
mod dra_driver;
mod grpc;
mod registration;

pub use device_plugin::DevicePlugin;
pub use dra_driver::DraDriver;
pub use grpc::{Reply, Server, call};
pub use registration::Registration;
