//! Elements that are added once and never again; reads of all of them. Every acknowledged element
//! must be in every later read. Sets are left for a new one when they are large, so that reads stay
//! small.

use super::client::Client;
use crate::history::call::Range;
use rand::Rng;

const SET_MAX: u64 = 60;

pub async fn work(mut client: Client) {
    let mut count: u64 = 0;
    while client.turn().await {
        // Its own counter says which set: clients are in about the same one.
        let set = count / SET_MAX;
        if client.random.random_range(0..4) < 3 {
            let key = format!("set/{set:04}/{}-{count:06}", client.name());
            count += 1;
            let name = client.name().to_owned();
            client.put(key, name).await;
        } else {
            let back = client.random.random_range(0..=set.min(1));
            let range = Range::prefix(format!("set/{:04}/", set - back));
            client.range(range).await;
        }
    }
}
