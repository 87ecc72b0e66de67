//! The generated wire types: the etcd API, gRPC's health service and the peer protocol (`proto/`).
#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    unreachable_pub,
    unused_qualifications,
    missing_docs,
    reason = "generated code"
)]

pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

pub mod authpb {
    tonic::include_proto!("authpb");
}

pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

/// `grpc.health.v1`.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// `quorate.peer.v1`: member to member.
pub mod peer {
    tonic::include_proto!("quorate.peer.v1");
}
