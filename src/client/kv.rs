//! Keys: reads may be repeated, writes not.

use super::retry::{Client, ClientError, Repeat};
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use tonic::transport::Channel;

impl Client {
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move { kv(channel).range(request).await },
        )
        .await
    }

    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            kv(channel).put(request).await
        })
        .await
    }

    pub async fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            kv(channel).delete_range(request).await
        })
        .await
    }

    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            kv(channel).txn(request).await
        })
        .await
    }

    pub async fn compact(
        &self,
        request: CompactionRequest,
    ) -> Result<CompactionResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            kv(channel).compact(request).await
        })
        .await
    }
}

fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(usize::MAX)
}
