//! API keys: made, restricted, rotated and ended, and what callers with them are told.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tonic::{Code, Request, Status};
use wcdn_proto::pb::admin::v1::{
    ApiKey, BarrierRequest, BlockRequest, Change, CreateKeyRequest, GetCallerRequest,
    GetStatusRequest, KeySettings, ListBlocksRequest, ListKeysRequest, ListNodesRequest,
    PurgeRequest, RevokeKeyRequest, RotateKeyRequest, UpdateKeyRequest,
    key_service_client::KeyServiceClient,
};

use crate::{
    replicas::{server, two},
    stage::{Stage, blob, reason},
};

/// A message with a key.
pub(crate) fn with_key<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    request
}

pub(crate) fn scoped(scopes: &[&str]) -> KeySettings {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    KeySettings { scopes, ..KeySettings::default() }
}

/// Makes a key with the first one: what is known of it, and its text.
pub(crate) async fn make(
    stage: &Stage,
    name: &str,
    settings: KeySettings,
) -> Result<(ApiKey, String), Status> {
    let mut keys = KeyServiceClient::new(stage.channel());
    let request = CreateKeyRequest { name: name.to_owned(), settings: Some(settings) };
    let made = keys.create_key(stage.keyed(request)).await?.into_inner();
    Ok((made.key.unwrap(), made.text))
}

async fn rotate(
    stage: &Stage,
    key: &str,
    grace_ms: Option<u64>,
) -> Result<(ApiKey, String, Change), Status> {
    let mut keys = KeyServiceClient::new(stage.channel());
    let request = RotateKeyRequest { key: key.to_owned(), grace_ms, at_ms: 0 };
    let made = keys.rotate_key(stage.keyed(request)).await?.into_inner();
    Ok((made.key.unwrap(), made.text, made.change.unwrap()))
}

/// Why a key is refused; empty if it is good.
async fn refused(stage: &Stage, key: &str) -> String {
    let mut keys = KeyServiceClient::new(stage.channel());
    match keys.get_caller(with_key(key, GetCallerRequest {})).await {
        Ok(_) => String::new(),
        Err(status) => reason(&status),
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

#[tokio::test]
async fn a_key_may_do_what_its_scopes_say_and_is_told_which_it_lacks() {
    let mut stage = Stage::begin().await;
    let (made, text) = make(&stage, "ci", scoped(&["cache:purge", "blocks:write"])).await.unwrap();
    assert_eq!(made.created_by, "first");
    assert!(text.starts_with(&format!("wcdn_{}_", made.id)), "{text}");
    let purge = PurgeRequest { ids: vec![blob(1)], ..Default::default() };
    let change = stage.admin.purge(with_key(&text, purge)).await.unwrap().into_inner().change;
    assert_eq!(change.unwrap().by, "ci");
    // To write is to read.
    assert!(stage.admin.list_blocks(with_key(&text, ListBlocksRequest::default())).await.is_ok());
    let all = PurgeRequest { all: true, ..Default::default() };
    let lacks = stage.admin.purge(with_key(&text, all)).await.unwrap_err();
    assert_eq!((lacks.code(), reason(&lacks)), (Code::PermissionDenied, "SCOPE_MISSING".into()));
    assert!(lacks.message().contains("\"ci\" lacks the scope cache:purge_all"), "{lacks:?}");
    let nodes = stage.admin.list_nodes(with_key(&text, ListNodesRequest {})).await.unwrap_err();
    assert!(nodes.message().contains("nodes:read"), "{nodes:?}");
    let barrier = stage.admin.barrier(with_key(&text, BarrierRequest {})).await.unwrap_err();
    assert_eq!(reason(&barrier), "SCOPE_MISSING");
}

#[tokio::test]
async fn who_lacks_a_scope_is_refused_before_the_message_is_read() {
    let mut stage = Stage::begin().await;
    let (_, text) = make(&stage, "reader", scoped(&["cache:read"])).await.unwrap();
    let ids = vec!["x".repeat(1_000); 9_000];
    let large = BlockRequest { ids, ..Default::default() };
    let refused = stage.admin.block(with_key(&text, large)).await.unwrap_err();
    assert_eq!(reason(&refused), "SCOPE_MISSING");
}

#[tokio::test]
async fn no_key_gives_or_takes_over_what_it_does_not_have() {
    let stage = Stage::begin().await;
    let networks = vec!["127.0.0.0/8".to_owned()];
    let expires_at_ms = now_ms() + 3_600_000;
    let settings =
        KeySettings { networks, expires_at_ms, ..scoped(&["keys:admin", "cache:purge"]) };
    let (_, text) = make(&stage, "deputy", settings.clone()).await.unwrap();
    let (boss, _) = make(&stage, "boss", scoped(&["*"])).await.unwrap();
    let mut keys = KeyServiceClient::new(stage.channel());
    let beyond = [
        scoped(&["*"]),
        scoped(&["cache:purge_all"]),
        KeySettings { networks: vec!["0.0.0.0/0".to_owned()], ..settings.clone() },
        KeySettings { networks: vec![], ..settings.clone() },
        KeySettings { expires_at_ms: 0, ..settings.clone() },
        KeySettings { expires_at_ms: expires_at_ms + 1, ..settings.clone() },
    ];
    for (n, settings) in beyond.into_iter().enumerate() {
        let request = CreateKeyRequest { name: format!("n{n}"), settings: Some(settings) };
        let refused = keys.create_key(with_key(&text, request)).await.unwrap_err();
        assert_eq!(reason(&refused), "BEYOND_CALLER", "{n}: {refused:?}");
    }
    let request = RotateKeyRequest { key: boss.id.clone(), grace_ms: None, at_ms: 0 };
    let taken = keys.rotate_key(with_key(&text, request)).await.unwrap_err();
    assert_eq!(reason(&taken), "BEYOND_CALLER");
    let less = UpdateKeyRequest { key: boss.id, revision: 0, settings: Some(settings.clone()) };
    let lowered = keys.update_key(with_key(&text, less)).await.unwrap_err();
    assert_eq!(reason(&lowered), "BEYOND_CALLER");
    let request = CreateKeyRequest { name: "same".to_owned(), settings: Some(settings) };
    assert!(keys.create_key(with_key(&text, request)).await.is_ok());
}

#[tokio::test]
async fn after_a_rotation_both_texts_are_good_until_the_grace_is_over() {
    let stage = Stage::begin().await;
    let (made, first) = make(&stage, "ci", scoped(&["cache:read"])).await.unwrap();
    let (rotated, second, _) = rotate(&stage, "ci", None).await.unwrap();
    assert_eq!((rotated.id.as_str(), rotated.revision), (made.id.as_str(), 2));
    assert!(rotated.previous_until_ms > now_ms() + 23 * 3_600_000, "a day, if nothing is said");
    assert_eq!(refused(&stage, &first).await, "");
    assert_eq!(refused(&stage, &second).await, "");
    // In an emergency nothing before the new one is good.
    let (rotated, third, _) = rotate(&stage, &made.id, Some(0)).await.unwrap();
    assert_eq!(refused(&stage, &first).await, "API_KEY_ROTATED");
    assert_eq!(refused(&stage, &second).await, "API_KEY_ROTATED");
    assert_eq!(refused(&stage, &third).await, "");
    assert!(rotated.previous_until_ms <= now_ms());
    let (_, fourth, _) = rotate(&stage, "ci", Some(400)).await.unwrap();
    let waiting = async {
        while refused(&stage, &third).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the grace ends");
    assert_eq!(refused(&stage, &fourth).await, "");
}

#[tokio::test]
async fn a_key_that_is_rotated_without_end_is_refused_further_texts() {
    let stage = Stage::begin().await;
    make(&stage, "ci", scoped(&["cache:read"])).await.unwrap();
    for _ in 0..4 {
        rotate(&stage, "ci", None).await.unwrap();
    }
    assert_eq!(reason(&rotate(&stage, "ci", None).await.unwrap_err()), "KEY_TOO_OFTEN_ROTATED");
    rotate(&stage, "ci", Some(0)).await.unwrap();
    rotate(&stage, "ci", None).await.unwrap();
}

#[tokio::test]
async fn a_key_that_was_revoked_is_told_so_and_its_name_stays_taken() {
    let stage = Stage::begin().await;
    let (made, text) = make(&stage, "ci", scoped(&["cache:read"])).await.unwrap();
    assert_eq!(refused(&stage, &text).await, "");
    let mut keys = KeyServiceClient::new(stage.channel());
    let revoke = RevokeKeyRequest { key: "ci".to_owned(), reason: "leaked".to_owned() };
    let revoked = keys.revoke_key(stage.keyed(revoke.clone())).await.unwrap().into_inner();
    assert!(revoked.key.unwrap().revoked_at_ms > 0);
    assert_eq!(revoked.change.unwrap().kind, "key.revoke");
    assert_eq!(refused(&stage, &text).await, "API_KEY_REVOKED");
    let again = keys.revoke_key(stage.keyed(revoke)).await.unwrap_err();
    assert_eq!((again.code(), reason(&again)), (Code::FailedPrecondition, "KEY_ENDED".into()));
    let taken = make(&stage, "ci", scoped(&["cache:read"])).await.unwrap_err();
    assert_eq!((taken.code(), reason(&taken)), (Code::AlreadyExists, "KEY_NAME_TAKEN".into()));
    let list = |ended| ListKeysRequest { ended, ..ListKeysRequest::default() };
    let names = |keys: Vec<ApiKey>| keys.into_iter().map(|key| key.name).collect::<Vec<_>>();
    let living = keys.list_keys(stage.keyed(list(false))).await.unwrap().into_inner().keys;
    assert_eq!(names(living), ["first"]);
    let every = keys.list_keys(stage.keyed(list(true))).await.unwrap().into_inner().keys;
    assert!(names(every).contains(&made.name));
    let unknown = RevokeKeyRequest { key: "no-such".to_owned(), reason: String::new() };
    assert_eq!(reason(&keys.revoke_key(stage.keyed(unknown)).await.unwrap_err()), "KEY_UNKNOWN");
}

#[tokio::test]
async fn keys_are_listed_in_pages() {
    let stage = Stage::begin().await;
    for n in 0..5 {
        make(&stage, &format!("n{n}"), scoped(&["cache:read"])).await.unwrap();
    }
    let mut keys = KeyServiceClient::new(stage.channel());
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let request = ListKeysRequest { page_size: 2, page_token: token, ended: false };
        let page = keys.list_keys(stage.keyed(request)).await.unwrap().into_inner();
        seen.extend(page.keys.into_iter().map(|key| key.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), 6);
    assert!(seen.is_sorted());
}

#[tokio::test]
async fn a_key_is_good_from_its_networks_and_until_its_end() {
    let stage = Stage::begin().await;
    let elsewhere =
        KeySettings { networks: vec!["192.0.2.0/24".to_owned()], ..scoped(&["cache:read"]) };
    let (_, text) = make(&stage, "elsewhere", elsewhere).await.unwrap();
    assert_eq!(refused(&stage, &text).await, "ADDRESS_NOT_ALLOWED");
    let soon = KeySettings { expires_at_ms: now_ms() + 400, ..scoped(&["cache:read"]) };
    let (_, text) = make(&stage, "soon", soon).await.unwrap();
    let waiting = async {
        while refused(&stage, &text).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the key ends");
    assert_eq!(refused(&stage, &text).await, "API_KEY_EXPIRED");
}

#[tokio::test]
async fn a_change_of_a_key_that_was_changed_meanwhile_is_refused() {
    let mut stage = Stage::begin().await;
    let (made, text) = make(&stage, "ci", scoped(&["cache:read"])).await.unwrap();
    let mut keys = KeyServiceClient::new(stage.channel());
    let update = |revision, scopes: &[&str]| UpdateKeyRequest {
        key: "ci".to_owned(),
        revision,
        settings: Some(scoped(scopes)),
    };
    let mine = keys.update_key(stage.keyed(update(made.revision, &["nodes:read"]))).await.unwrap();
    assert_eq!(mine.into_inner().key.unwrap().revision, 2);
    assert!(stage.admin.get_status(with_key(&text, GetStatusRequest {})).await.is_ok());
    let yours = keys.update_key(stage.keyed(update(made.revision, &["cache:read"]))).await;
    let yours = yours.unwrap_err();
    assert_eq!((yours.code(), reason(&yours)), (Code::Aborted, "KEY_CHANGED".into()));
    assert!(keys.update_key(stage.keyed(update(0, &["cache:read"]))).await.is_ok());
    let lost = stage.admin.get_status(with_key(&text, GetStatusRequest {})).await.unwrap_err();
    assert_eq!(reason(&lost), "SCOPE_MISSING");
}

#[tokio::test]
async fn a_caller_sees_its_own_key_and_from_where_it_calls() {
    let stage = Stage::begin().await;
    let (made, text) = make(&stage, "ci", scoped(&["cache:read"])).await.unwrap();
    let mut keys = KeyServiceClient::new(stage.channel());
    let own = keys.get_caller(with_key(&text, GetCallerRequest {})).await.unwrap().into_inner();
    let key = own.key.unwrap();
    assert_eq!((key.id, own.address.as_str()), (made.id, "127.0.0.1"));
    assert_eq!(key.used_from, "127.0.0.1");
    assert!(key.used_at_ms > now_ms() - 60_000);
}

#[tokio::test]
async fn what_was_revoked_at_one_control_plane_is_refused_at_the_other_and_told_to_edges() {
    let server = server().await;
    let (first, mut second) = two(&server.url("postgres")).await;
    let (_, text) = make(&first, "ci", scoped(&["cache:read"])).await.unwrap();
    // It is in memory there.
    assert_eq!(refused(&second, &text).await, "");
    let edge = second.edge_named("a", None).await;
    let mut keys = KeyServiceClient::new(first.channel());
    let revoke = RevokeKeyRequest { key: "ci".to_owned(), reason: String::new() };
    let revoked = keys.revoke_key(first.keyed(revoke)).await.unwrap().into_inner();
    let heard = async {
        while refused(&second, &text).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), heard).await.expect("it is heard of");
    assert_eq!(refused(&second, &text).await, "API_KEY_REVOKED");
    let change = revoked.change.unwrap();
    edge.report(&change.last, vec![]).await;
    let receipt = crate::replicas::settled(&mut second, &change).await;
    assert!(receipt.complete, "{receipt:?}");
}
