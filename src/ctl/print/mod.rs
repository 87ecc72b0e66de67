//! The formats of etcdctl: [`simple`], [`fields`], [`json`], [`table`], and protobuf, which is the
//! answer as it came. Not every answer has every format, as in etcdctl.

mod fields;
mod json;
mod render;
mod simple;
mod table;

pub(super) use render::{Answer, EndpointHash, EndpointHealth, EndpointStatus, Format, render};
pub(super) use table::draw as draw_table;
