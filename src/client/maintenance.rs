//! What one member is asked about itself, and told to do.

use super::retry::{Client, ClientError, Repeat, is_servers_word};
use crate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, HashKvRequest,
    HashKvResponse, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, SnapshotResponse,
    StatusRequest, StatusResponse,
};
use tonic::transport::Channel;
use tonic::{Code, Streaming};

impl Client {
    pub async fn status(&self, request: StatusRequest) -> Result<StatusResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move { maintenance(channel).status(request).await },
        )
        .await
    }

    pub async fn alarm(&self, request: AlarmRequest) -> Result<AlarmResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move { maintenance(channel).alarm(request).await },
        )
        .await
    }

    pub async fn hash_kv(&self, request: HashKvRequest) -> Result<HashKvResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move { maintenance(channel).hash_kv(request).await },
        )
        .await
    }

    pub async fn move_leader(
        &self,
        request: MoveLeaderRequest,
    ) -> Result<MoveLeaderResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move { maintenance(channel).move_leader(request).await },
        )
        .await
    }

    pub async fn defragment(
        &self,
        request: DefragmentRequest,
    ) -> Result<DefragmentResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            maintenance(channel).defragment(request).await
        })
        .await
    }

    /// Opens a backup's stream. It has no deadline: a backup takes as long as it takes.
    pub async fn snapshot(&self) -> Result<Streaming<SnapshotResponse>, ClientError> {
        loop {
            let (connection, channel) = self.reach().await;
            match maintenance(channel).snapshot(SnapshotRequest {}).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => {
                    if !is_servers_word(&status) {
                        connection.forget();
                    } else if status.code() != Code::Unavailable {
                        return Err(status.into());
                    }
                    self.pause().await;
                }
            }
        }
    }
}

fn maintenance(channel: Channel) -> MaintenanceClient<Channel> {
    MaintenanceClient::new(channel).max_decoding_message_size(usize::MAX)
}
