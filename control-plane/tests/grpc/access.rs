//! Who may call, how much, and what is told to those who may not.

use std::time::Duration;

use tonic::{Code, Request, metadata::MetadataValue};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;
use wcdn_control_plane::{Secrets, commands};
use wcdn_proto::{
    Scopes,
    pb::{
        admin::v1::{
            BarrierRequest, BlockRequest, GetStatusRequest, PurgeRequest, TailEventsRequest,
            WatchReceiptRequest,
        },
        edge::v1::{GetSnapshotRequest, Register, ReplayRequest, SessionRequest},
    },
};

use crate::stage::{Stage, all, blob, next, reason, register};

#[tokio::test]
async fn a_call_without_a_good_key_is_told_what_is_wrong_with_it() {
    let mut stage = Stage::begin().await;
    let mut damaged = stage.key.clone();
    damaged.pop();
    let unknown = "wcdn-some-other-key-of-theirs".to_owned();
    for (key, expected) in [
        (None, "API_KEY_MISSING"),
        (Some(damaged), "API_KEY_DAMAGED"),
        (Some(unknown), "API_KEY_UNKNOWN"),
        (Some("x".repeat(300)), "API_KEY_MISSING"),
    ] {
        let mut request = Request::new(GetStatusRequest {});
        if let Some(key) = key {
            request.metadata_mut().insert("x-api-key", key.parse().unwrap());
        }
        let refused = stage.admin.get_status(request).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused)),
            (Code::Unauthenticated, expected.to_owned())
        );
    }
    let mut bearer = Request::new(GetStatusRequest {});
    let value: MetadataValue<_> = format!("Bearer {}", stage.key).parse().unwrap();
    bearer.metadata_mut().insert("authorization", value);
    assert!(stage.admin.get_status(bearer).await.is_ok());
}

#[tokio::test]
async fn an_edge_without_the_clusters_token_gets_nothing() {
    let mut stage = Stage::begin().await;
    let refused = stage.edge.replay(Request::new(ReplayRequest::default())).await.unwrap_err();
    assert_eq!(reason(&refused), "EDGE_UNKNOWN");
    let with_api_key = stage.keyed(GetSnapshotRequest {});
    let refused = stage.edge.get_snapshot(with_api_key).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::Unauthenticated, "EDGE_UNKNOWN".into()));
    let token = stage.token();
    let mut wrong = Request::new(GetSnapshotRequest {});
    let value = format!("Bearer {}0", &token[..63]);
    wrong.metadata_mut().insert("authorization", value.parse().unwrap());
    if !token.ends_with('0') {
        assert_eq!(reason(&stage.edge.get_snapshot(wrong).await.unwrap_err()), "EDGE_UNKNOWN");
    }
    let mut operator = Request::new(GetStatusRequest {});
    let value = format!("Bearer {token}").parse().unwrap();
    operator.metadata_mut().insert("authorization", value);
    assert_eq!(reason(&stage.admin.get_status(operator).await.unwrap_err()), "API_KEY_UNKNOWN");
}

#[tokio::test]
async fn while_the_clusters_key_is_changed_both_tokens_are_good() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut stage = Stage::begin().await;
    let before = stage.as_edge(GetSnapshotRequest {});
    let present = stage.config.cluster.key_file.clone();
    let (old, new) = (stage.folder.path().join("old.key"), stage.folder.path().join("new.key"));
    std::fs::copy(&present, &old).unwrap();
    std::fs::write(&new, format!("{}\n", "a5".repeat(32))).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    stage.config.cluster.key_file = new;
    for previous in [Some(old), None] {
        stage.config.cluster.previous_key_file = previous.clone();
        stage = stage.restart(|_| {}).await;
        let after = stage.as_edge(GetSnapshotRequest {});
        assert!(stage.edge.get_snapshot(after).await.is_ok());
        let mut request = Request::new(GetSnapshotRequest {});
        *request.metadata_mut() = before.metadata().clone();
        let answer = stage.edge.get_snapshot(request).await;
        match previous {
            Some(_) => assert!(answer.is_ok()),
            None => assert_eq!(reason(&answer.unwrap_err()), "EDGE_UNKNOWN"),
        }
    }
    // The same key under another name is no other key.
    let copy = stage.folder.path().join("copy.key");
    std::fs::copy(&stage.config.cluster.key_file, &copy).unwrap();
    stage.config.cluster.previous_key_file = Some(copy);
    let told = Secrets::check(&stage.config).unwrap_err().to_string();
    assert!(told.contains("cluster.previous_key_file is of no use"), "{told}");
    assert!(told.contains("holds the key that is in use"), "{told}");
}

#[tokio::test]
async fn a_key_that_is_made_beside_a_running_control_plane_is_good_at_once() {
    let mut stage = Stage::begin().await;
    let key = commands::create_key(&stage.config.store, "ci", Scopes::ALL).await.unwrap();
    assert!(commands::create_key(&stage.config.store, "ci", Scopes::ALL).await.is_err());
    stage.key = key.expose().to_owned();
    let change = stage.admin.barrier(stage.keyed(BarrierRequest {})).await.unwrap().into_inner();
    assert_eq!(change.change.unwrap().by, "ci");
}

#[tokio::test]
async fn a_fixed_key_is_good_and_no_other_is_made() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut stage = Stage::begin().await;
    let file = stage.folder.path().join("fixed.key");
    std::fs::write(&file, "a-key-for-demonstrations\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    stage.config.keys.fixed_key_file = Some(file);
    let mut stage = stage.restart(|_| {}).await;
    stage.key = "a-key-for-demonstrations".to_owned();
    assert!(stage.admin.get_status(stage.keyed(GetStatusRequest {})).await.is_ok());
}

#[tokio::test]
async fn requests_that_make_no_sense_are_told_each_field_and_value() {
    let mut stage = Stage::begin().await;
    let ids = vec![blob(1), "nope".to_owned()];
    let request = stage.keyed(PurgeRequest { ids, ..Default::default() });
    let refused = stage.admin.purge(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let details = refused.get_error_details();
    let violation = &details.bad_request().unwrap().field_violations[0];
    assert_eq!(violation.field, "ids[1]");
    assert!(violation.description.contains("\"nope\""), "{violation:?}");
    let none = stage.keyed(PurgeRequest::default());
    assert_eq!(reason(&stage.admin.purge(none).await.unwrap_err()), "INVALID_REQUEST");
    let many = vec![blob(1); 10_001];
    let many = stage.keyed(BlockRequest { ids: many, ..Default::default() });
    let refused = stage.admin.block(many).await.unwrap_err();
    assert!(refused.message().contains("10001 entries; the most is 10000"), "{refused:?}");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_before_it_is_read() {
    let mut stage = Stage::begin().await;
    let ids = vec!["x".repeat(1_000); 9_000];
    let request = stage.keyed(PurgeRequest { ids, ..Default::default() });
    let refused = stage.admin.purge(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
    assert!(stage.admin.get_status(stage.keyed(GetStatusRequest {})).await.is_ok());
}

#[tokio::test]
async fn strangers_are_refused_before_their_message_is_read() {
    let mut stage = Stage::begin().await;
    // Too large to be decoded: that it is not even looked at shows in the answer.
    let large = || PurgeRequest { ids: vec!["x".repeat(1_000); 9_000], ..Default::default() };
    let refused = stage.admin.purge(Request::new(large())).await.unwrap_err();
    assert_eq!(reason(&refused), "API_KEY_MISSING");
    let mut unknown = Request::new(large());
    unknown.metadata_mut().insert("x-api-key", "wcdn-some-other-key".parse().unwrap());
    assert_eq!(reason(&stage.admin.purge(unknown).await.unwrap_err()), "API_KEY_UNKNOWN");
    let silent = tokio_stream::pending::<SessionRequest>();
    let refused = stage.edge.session(Request::new(silent)).await.unwrap_err();
    assert_eq!(reason(&refused), "EDGE_UNKNOWN");
}

#[tokio::test]
async fn a_message_of_an_edge_has_a_megabyte_at_most() {
    let mut stage = Stage::begin().await;
    let large = Register { proof: vec![0; 1 << 20].into(), ..register("a", None) };
    let Err(refused) = stage.register(large).await else { panic!("accepted") };
    assert!(!refused.message().is_empty(), "{refused:?}");
    assert_eq!(reason(&refused), "INVALID_REQUEST");
}

#[tokio::test]
async fn sessions_and_streams_beyond_their_limits_are_refused_with_a_time_to_try_again() {
    let mut stage = Stage::with(|config| {
        config.limits.max_sessions = 1;
        config.limits.max_watches = 1;
    })
    .await;
    let _first = stage.edge_named("a", None).await;
    let Err(refused) = stage.register(register("b", None)).await else { panic!("accepted") };
    assert_eq!((refused.code(), reason(&refused)), (Code::ResourceExhausted, "OVERLOADED".into()));
    assert!(refused.get_error_details().retry_info().is_some());
    let follow = TailEventsRequest { after: None, follow: true };
    let _tail = stage.admin.tail_events(stage.keyed(follow)).await.unwrap();
    let refused = stage.admin.tail_events(stage.keyed(follow)).await.unwrap_err();
    assert_eq!(reason(&refused), "OVERLOADED");
}

#[tokio::test]
async fn no_more_ids_are_withheld_than_there_is_room_for() {
    let mut stage = Stage::with(|config| config.limits.max_blocks = 2).await;
    let block = |ids| BlockRequest { ids, ..Default::default() };
    stage.admin.block(stage.keyed(block(vec![blob(1), blob(2)]))).await.unwrap();
    let refused = stage.admin.block(stage.keyed(block(vec![blob(3)]))).await.unwrap_err();
    assert_eq!(reason(&refused), "TOO_MANY_BLOCKS");
}

#[tokio::test]
async fn a_stream_ends_at_the_callers_deadline() {
    let mut stage = Stage::begin().await;
    let _silent = stage.edge_named("a", None).await;
    let change = stage.admin.barrier(stage.keyed(BarrierRequest {})).await.unwrap().into_inner();
    let change_id = change.change.unwrap().id;
    let mut request = stage.keyed(WatchReceiptRequest { change_id });
    request.set_timeout(Duration::from_millis(300));
    let stream = stage.admin.watch_receipt(request).await.unwrap().into_inner();
    let ended = all(stream).await.unwrap_err();
    assert_eq!((ended.code(), reason(&ended)), (Code::DeadlineExceeded, "DEADLINE".to_owned()));
}

#[tokio::test]
async fn a_drain_ends_streams_with_a_reason_and_health_tells_of_it() {
    let mut stage =
        Stage::with(|config| config.limits.drain_timeout = "200ms".parse().unwrap()).await;
    let mut edge = stage.edge_named("a", None).await;
    let mut health = HealthClient::new(stage.channel());
    let service = "wcdn.admin.v1.AdminService".to_owned();
    let watch = health.watch(HealthCheckRequest { service }).await.unwrap();
    let mut watch = watch.into_inner();
    assert_eq!(next(&mut watch).await.unwrap().status, 1, "serving");
    stage.shutdown();
    assert_eq!(next(&mut watch).await.unwrap().status, 2, "not serving");
    let ended = edge.next().await.unwrap_err();
    assert_eq!((ended.code(), reason(&ended)), (Code::Unavailable, "DRAINING".to_owned()));
    stage.stop().await;
    assert!(next(&mut watch).await.is_err(), "whoever watches for ever is cut");
}

macro_rules! services_by_reflection {
    ($stage:expr, $version:ident) => {{
        use reflection::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        use tonic_reflection::pb::$version as reflection;
        let mut client = ServerReflectionClient::new($stage.channel());
        let ask = |request| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(request),
        };
        let symbol = "wcdn.admin.v1.AdminService.Purge".to_owned();
        let asked = tokio_stream::iter([
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol(symbol)),
        ]);
        let mut answers = client.server_reflection_info(asked).await.unwrap().into_inner();
        let listed = next(&mut answers).await.unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = listed else { panic!("no list") };
        let file = next(&mut answers).await.unwrap().message_response;
        assert!(matches!(file, Some(MessageResponse::FileDescriptorResponse(_))), "{file:?}");
        list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
    }};
}

#[tokio::test]
async fn reflection_tells_every_service_in_both_of_its_versions() {
    let stage = Stage::begin().await;
    let versions = [services_by_reflection!(stage, v1), services_by_reflection!(stage, v1alpha)];
    for services in versions {
        for ours in
            ["wcdn.admin.v1.AdminService", "wcdn.edge.v1.EdgeService", "grpc.health.v1.Health"]
        {
            assert!(
                services.iter().any(|service| service == ours),
                "{ours} is not in {services:?}"
            );
        }
    }
}
