//! Members of the cluster.

use super::retry::{Client, ClientError, Repeat};
use crate::proto::etcdserverpb::cluster_client::ClusterClient;
use crate::proto::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse,
};
use tonic::transport::Channel;

impl Client {
    pub async fn member_list(
        &self,
        request: MemberListRequest,
    ) -> Result<MemberListResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move { cluster(channel).member_list(request).await },
        )
        .await
    }

    pub async fn member_add(
        &self,
        request: MemberAddRequest,
    ) -> Result<MemberAddResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            cluster(channel).member_add(request).await
        })
        .await
    }

    pub async fn member_remove(
        &self,
        request: MemberRemoveRequest,
    ) -> Result<MemberRemoveResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            cluster(channel).member_remove(request).await
        })
        .await
    }

    pub async fn member_update(
        &self,
        request: MemberUpdateRequest,
    ) -> Result<MemberUpdateResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            cluster(channel).member_update(request).await
        })
        .await
    }

    pub async fn member_promote(
        &self,
        request: MemberPromoteRequest,
    ) -> Result<MemberPromoteResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            cluster(channel).member_promote(request).await
        })
        .await
    }
}

fn cluster(channel: Channel) -> ClusterClient<Channel> {
    ClusterClient::new(channel).max_decoding_message_size(usize::MAX)
}
