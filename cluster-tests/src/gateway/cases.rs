//! What is asked, in order: later requests see what earlier ones did.

/// How two answers are compared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Compared {
    /// To the byte; an error by status, code and text.
    Exactly,
    /// An error by status and code: the text is the JSON library's.
    Code,
    Not {
        why: &'static str,
    },
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) path: &'static str,
    pub(super) body: &'static str,
    /// Of a stream: how many lines are read.
    pub(super) lines: Option<usize>,
    pub(super) compared: Compared,
    /// What stands before values that differ.
    pub(super) masked: &'static [&'static str],
    /// What newer etcds, and so we, have more.
    pub(super) ours_alone: &'static [&'static str],
}

impl Case {
    pub(super) const fn exact(path: &'static str, body: &'static str) -> Self {
        Self {
            path,
            body,
            lines: None,
            compared: Compared::Exactly,
            masked: &[],
            ours_alone: &[],
        }
    }

    const fn stream(path: &'static str, body: &'static str, lines: usize) -> Self {
        let mut case = Self::exact(path, body);
        case.lines = Some(lines);
        case
    }

    const fn code(path: &'static str, body: &'static str) -> Self {
        let mut case = Self::exact(path, body);
        case.compared = Compared::Code;
        case
    }

    const fn not(path: &'static str, body: &'static str, why: &'static str) -> Self {
        let mut case = Self::exact(path, body);
        case.compared = Compared::Not { why };
        case
    }

    const fn masking(mut self, masked: &'static [&'static str]) -> Self {
        self.masked = masked;
        self
    }
}

pub(super) fn all() -> impl Iterator<Item = Case> {
    let parts = [KV, MEMBERS, WATCH, LEASES, LOCKS];
    parts.into_iter().flatten().copied()
}

const KV: &[Case] = &[
    Case::exact("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#),
    Case::exact("/v3/kv/put", r#"{"key":"Zm9v","value":"","prev_kv":true}"#),
    Case::exact(
        "/v3/kv/put",
        r#"{"key":"Zm9v","value":"/+8=","prevKv":true}"#,
    ),
    Case::exact("/v3/kv/put", r#"{"key":"Zm9v","ignore_value":true}"#),
    Case::exact("/v3/kv/put", r#"{"key":"bm9uZQ==","ignoreValue":true}"#),
    Case::exact(
        "/v3/kv/put",
        r#"{"key":"Zm9v","value":"YQ==","ignore_value":true}"#,
    ),
    Case::exact("/v3/kv/put", r#"{"key":"Zm9v","lease":"77"}"#),
    Case::exact("/v3/kv/put", ""),
    Case::exact("/v3/kv/range", ""),
    Case::exact("/v3/kv/range", r#"{"key":"Zm9v"}"#),
    Case::exact("/v3/kv/range", r#"{"key":"Zm9v","unknown":[1,{"a":null}]}"#),
    Case::exact("/v3/kv/range", r#"{"key":"Zm9v"} and more"#),
    Case::exact("/v3/kv/range", r#"{"key":"Zm9v","revision":2}"#),
    Case::exact(
        "/v3/kv/range",
        r#"{"key":"Zm9v","revision":"2","serializable":true}"#,
    ),
    Case::exact("/v3/kv/range", r#"{"key":"Zm9v","revision":"9999"}"#),
    Case::exact(
        "/v3/kv/range",
        r#"{"key":"AA==","range_end":"AA==","count_only":true}"#,
    ),
    Case::exact(
        "/v3/kv/range",
        r#"{"key":"AA==","range_end":"AA==","sort_order":"DESCEND","sort_target":"MOD","keys_only":true,"limit":"1"}"#,
    ),
    Case::exact(
        "/v3/kv/range",
        r#"{"key":"AA==","rangeEnd":"AA==","sortOrder":1,"sortTarget":4,"minModRevision":"2"}"#,
    ),
    Case::exact("/v3beta/kv/range", r#"{"key":"Zm9v"}"#),
    Case::code("/v3/kv/range", "x"),
    Case::code("/v3/kv/range", "["),
    Case::code("/v3/kv/range", r#"{"key":1}"#),
    Case::code("/v3/kv/range", r#"{"key":"!"}"#),
    Case::code("/v3/kv/range", r#"{"limit":"many"}"#),
    Case::code("/v3/kv/range", r#"{"sort_order":"SIDEWAYS"}"#),
    Case::exact(
        "/v3/kv/txn",
        r#"{"compare":[{"key":"Zm9v","target":"VERSION","result":"GREATER","version":"0"}],
            "success":[{"request_put":{"key":"dA==","value":"MQ=="}},{"request_range":{"key":"Zm9v"}}],
            "failure":[{"request_delete_range":{"key":"Zm9v"}}]}"#,
    ),
    Case::exact(
        "/v3/kv/txn",
        r#"{"compare":[{"key":"Zm9v","target":"VALUE","result":"NOT_EQUAL","value":"/+8="}],
            "success":[{"requestPut":{"key":"dA==","value":"MQ=="}}],
            "failure":[{"requestDeleteRange":{"key":"dA==","prevKv":true}},
                       {"requestTxn":{"compare":[],"success":[{"requestRange":{"key":"dA=="}}]}}]}"#,
    ),
    Case::exact(
        "/v3/kv/txn",
        r#"{"compare":[{"key":"Zm9v","target":"CREATE","result":"LESS","create_revision":"100"},
                       {"key":"Zm9v","target":"MOD","result":1,"modRevision":"0"},
                       {"key":"Zm9v","target":4,"lease":"0"}]}"#,
    ),
    Case::exact("/v3/kv/txn", "{}"),
    Case::exact(
        "/v3/kv/txn",
        r#"{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}"#,
    ),
    Case::exact("/v3/kv/deleterange", r#"{"key":"bm9uZQ=="}"#),
    Case::exact("/v3/kv/put", r#"{"key":"ZA==","value":"PCZ+"}"#),
    Case::exact("/v3/kv/deleterange", r#"{"key":"ZA==","prev_kv":true}"#),
    Case::exact("/v3/kv/deleterange", "{}"),
    Case::exact("/v3/kv/compaction", r#"{"revision":"3"}"#),
    Case::exact("/v3/kv/compaction", r#"{"revision":"3"}"#),
    Case::exact("/v3/kv/compaction", r#"{"revision":"9999"}"#),
    Case::exact("/v3/kv/range", r#"{"key":"Zm9v","revision":"2"}"#),
];

const MEMBERS: &[Case] = &[
    Case::exact("/v3/cluster/member/list", "{}").masking(&[
        r#""ID":""#,
        r#""name":""#,
        r#""peerURLs":[""#,
        r#""clientURLs":[""#,
    ]),
    Case::exact("/v3/cluster/member/add", r#"{"peerURLs":["nowhere"]}"#),
    Case::exact("/v3/cluster/member/add", "{}"),
    Case::exact("/v3/cluster/member/remove", r#"{"ID":"99"}"#),
    Case::exact("/v3/cluster/member/promote", r#"{"ID":"99"}"#),
    Case::exact(
        "/v3/cluster/member/update",
        r#"{"ID":"99","peerURLs":["http://127.0.0.1:9"]}"#,
    ),
    Case::exact("/v3/maintenance/defragment", "{}"),
    Case::exact(
        "/v3/maintenance/transfer-leadership",
        r#"{"targetID":"99"}"#,
    ),
    Case {
        // 3.4 has no header here.
        ours_alone: &[
            r#""header":{"cluster_id":"*","member_id":"*","revision":"*","raft_term":"*"}"#,
        ],
        ..Case::exact("/v3/maintenance/alarm", r#"{"action":"GET"}"#).masking(&[r#""revision":""#])
    },
    Case::not("/v3/auth/enable", "{}", "Auth is not there yet"),
    Case {
        ours_alone: &[
            r#","storageVersion":"*""#,
            r#","dbSizeQuota":"*""#,
            r#","downgradeInfo":{}"#,
        ],
        ..Case::exact("/v3/maintenance/status", "{}").masking(&[
            r#""version":""#,
            r#""leader":""#,
            r#""dbSize":""#,
            r#""dbSizeInUse":""#,
            r#""raftIndex":""#,
            r#""raftTerm":""#,
            r#""raftAppliedIndex":""#,
            r#""storageVersion":""#,
            r#""dbSizeQuota":""#,
        ])
    },
];

const WATCH: &[Case] = &[
    Case::exact("/v3/kv/put", r#"{"key":"dw==","value":"MQ=="}"#),
    Case::exact("/v3/kv/put", r#"{"key":"dw==","value":"Mg=="}"#),
    Case::exact("/v3/kv/deleterange", r#"{"key":"dw=="}"#),
    Case::stream(
        "/v3/watch",
        r#"{"create_request":{"key":"dw==","start_revision":"5"}}"#,
        2,
    ),
    Case::stream(
        "/v3/watch",
        r#"{"createRequest":{"key":"dw==","startRevision":5,"prevKv":true,"watchId":"7"}}"#,
        2,
    ),
    Case::stream(
        "/v3/watch",
        r#"{"create_request":{"key":"dw==","start_revision":"5","filters":["NOPUT"]}}"#,
        2,
    ),
    Case::stream(
        "/v3/watch",
        r#"{"create_request":{"key":"dw==","start_revision":"1"}}"#,
        2,
    ),
    Case::stream(
        "/v3/watch",
        r#"{"create_request":{"key":"dw=="}} {"cancel_request":{"watch_id":"0"}}"#,
        2,
    ),
    Case::not("/v3/watch", "x", "3.4 says Unknown to what is no JSON"),
];

const TTL: &[&str] = &[r#""TTL":""#];

const LEASES: &[Case] = &[
    Case::exact("/v3/lease/grant", r#"{"TTL":"600","ID":"7"}"#),
    Case::exact("/v3/lease/grant", r#"{"TTL":"600","ID":"7"}"#),
    Case::exact("/v3/lease/grant", r#"{"TTL":"99999999999"}"#),
    Case::exact(
        "/v3/kv/put",
        r#"{"key":"bGVhc2Vk","value":"MQ==","lease":7}"#,
    ),
    Case::exact("/v3/kv/range", r#"{"key":"bGVhc2Vk"}"#),
    Case::exact("/v3/lease/timetolive", r#"{"ID":"7","keys":true}"#).masking(TTL),
    Case::exact("/v3/kv/lease/timetolive", r#"{"ID":7}"#).masking(TTL),
    Case::exact("/v3/lease/timetolive", r#"{"ID":"8"}"#),
    Case::exact("/v3/lease/leases", "{}"),
    Case::exact("/v3/kv/lease/leases", ""),
    Case::stream("/v3/lease/keepalive", r#"{"ID":"7"}"#, 1),
    Case::stream("/v3/lease/keepalive", r#"{"ID":"8"} {"ID":"7"}"#, 2),
    Case::exact("/v3/lease/revoke", r#"{"ID":"7"}"#),
    Case::exact("/v3/kv/lease/revoke", r#"{"ID":"7"}"#),
    Case::exact("/v3/kv/range", r#"{"key":"bGVhc2Vk"}"#),
];

const LOCKS: &[Case] = &[
    Case::exact("/v3/lease/grant", r#"{"TTL":"600","ID":"9"}"#),
    Case::exact("/v3/lock/lock", r#"{"name":"bG9jaw==","lease":"9"}"#),
    Case::exact("/v3/lock/lock", r#"{"name":"bG9jaw==","lease":"10"}"#),
    Case::exact("/v3/lock/unlock", r#"{"key":"bG9jay85"}"#),
    Case::exact("/v3/election/leader", r#"{"name":"ZQ=="}"#),
    Case::exact(
        "/v3/election/campaign",
        r#"{"name":"ZQ==","lease":"9","value":"dg=="}"#,
    ),
    Case::exact("/v3/election/leader", r#"{"name":"ZQ=="}"#),
    Case::exact(
        "/v3/election/proclaim",
        r#"{"leader":{"name":"ZQ==","key":"ZS85","rev":"1","lease":"9"},"value":"dzI="}"#,
    ),
    Case::stream("/v3/election/observe", r#"{"name":"ZQ=="}"#, 1),
    Case::exact(
        "/v3/election/resign",
        r#"{"leader":{"name":"ZQ==","key":"ZS85","rev":"1","lease":"9"}}"#,
    ),
];
