//! The audit log: what is in it, and that nothing can be taken out unnoticed.

use std::time::Duration;

use tonic::{Request, Status};
use wcdn_proto::{
    audit::{AuditChain, AuditLine, BrokenChain},
    pb::admin::v1::{
        AuditEntry, AuditFilter, AuditFormat, BarrierRequest, BlockRequest, ExportAuditRequest,
        GetStatusRequest, KeySettings, ListAuditRequest, PurgeRequest, RevokeKeyRequest,
        SetOriginsRequest, audit_service_client::AuditServiceClient,
        key_service_client::KeyServiceClient,
    },
    pb::edge::v1::{Origin, OriginPool},
};

use crate::{
    keys::{make, scoped, with_key},
    replicas::{server, two},
    stage::{Stage, all, blob, reason},
};

async fn list(stage: &Stage, filter: AuditFilter) -> Vec<AuditEntry> {
    let mut audit = AuditServiceClient::new(stage.channel());
    let (mut entries, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListAuditRequest { filter: Some(filter.clone()), page_size: 7, page_token };
        let page = audit.list_audit(stage.keyed(request)).await.unwrap().into_inner();
        entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return entries;
        }
    }
}

/// Waits until as many entries are found, the latest first.
async fn found(stage: &Stage, filter: AuditFilter, count: usize) -> Vec<AuditEntry> {
    let waiting = async {
        loop {
            let entries = list(stage, filter.clone()).await;
            if entries.len() >= count {
                return entries;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it is written down")
}

async fn export(stage: &Stage, format: AuditFormat, filter: Option<AuditFilter>) -> String {
    let mut audit = AuditServiceClient::new(stage.channel());
    let request = ExportAuditRequest { filter, format: format.into() };
    let stream = audit.export_audit(stage.keyed(request)).await.unwrap().into_inner();
    let parts = all(stream).await.unwrap();
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.lines.to_vec()).collect();
    String::from_utf8(bytes).unwrap()
}

fn verify(lines: &[&str]) -> Result<u64, BrokenChain> {
    let mut chain = AuditChain::default();
    for line in lines {
        match AuditLine::parse(line).unwrap() {
            AuditLine::Entry(entry) => chain.follow(&entry)?,
            AuditLine::Head { head } => chain.reaches(&head)?,
        }
    }
    Ok(chain.last())
}

fn action(action: &str) -> AuditFilter {
    AuditFilter { action: action.to_owned(), ..AuditFilter::default() }
}

async fn purge(stage: &mut Stage, key: &str) -> Result<(), Status> {
    let mut request = with_key(key, PurgeRequest { ids: vec![blob(1)], ..Default::default() });
    request.metadata_mut().insert("x-request-id", "asked-for-by-me".parse().unwrap());
    stage.admin.purge(request).await.map(drop)
}

#[tokio::test]
async fn a_change_is_told_with_who_made_it_from_where_and_under_which_request() {
    let mut stage = Stage::begin().await;
    let (made, text) = make(&stage, "ci", scoped(&["cache:purge"])).await.unwrap();
    purge(&mut stage, &text).await.unwrap();
    let entry = found(&stage, action("purge"), 1).await.remove(0);
    assert_eq!((entry.class.as_str(), entry.outcome.as_str()), ("operation", "done"));
    assert_eq!((entry.key_id, entry.key_name.as_str()), (made.id.clone(), "ci"));
    assert_eq!(entry.address, "127.0.0.1");
    assert_eq!(entry.request_id, "asked-for-by-me");
    assert!(entry.target.starts_with("chg_"), "{}", entry.target);
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    assert_eq!((&detail["ids"], &detail["some"][0]), (&1.into(), &blob(1).into()));
    // By id or by name, by request and by target.
    for filter in [
        AuditFilter { key: made.id, ..action("purge") },
        AuditFilter { key: "ci".to_owned(), ..action("purge") },
        AuditFilter { request_id: "asked-for-by-me".to_owned(), ..action("purge") },
        AuditFilter { target: entry.target, class: "operation".to_owned(), ..action("purge") },
    ] {
        assert_eq!(list(&stage, filter).await.len(), 1);
    }
    assert!(
        list(&stage, AuditFilter { key: "other".to_owned(), ..action("purge") }).await.is_empty()
    );
}

#[tokio::test]
async fn what_keys_and_pools_were_before_and_after_is_told() {
    let mut stage = Stage::begin().await;
    make(&stage, "ci", scoped(&["cache:purge"])).await.unwrap();
    let mut keys = KeyServiceClient::new(stage.channel());
    let settings = KeySettings { per_minute: 5, ..scoped(&["cache:read"]) };
    let update = wcdn_proto::pb::admin::v1::UpdateKeyRequest {
        key: "ci".to_owned(),
        revision: 0,
        settings: Some(settings),
    };
    keys.update_key(stage.keyed(update)).await.unwrap();
    let revoke = RevokeKeyRequest { key: "ci".to_owned(), reason: "leaked".to_owned() };
    keys.revoke_key(stage.keyed(revoke)).await.unwrap();
    let origin = Origin { name: "a".into(), url: "http://a.example".into(), ..Origin::default() };
    let pool = OriginPool { revision: 0, origins: vec![origin], publishers: vec![] };
    stage.admin.set_origins(stage.keyed(SetOriginsRequest { pool: Some(pool) })).await.unwrap();
    let of_keys = found(&stage, action("key."), 4).await;
    let actions: Vec<_> = of_keys.iter().map(|entry| entry.action.as_str()).collect();
    for expected in ["key.revoke", "key.update", "key.create"] {
        assert!(actions.contains(&expected), "{expected} is not in {actions:?}");
    }
    let detail = |action: &str| -> serde_json::Value {
        let entry = of_keys.iter().find(|entry| entry.action == action).unwrap();
        serde_json::from_str(&entry.detail).unwrap()
    };
    assert_eq!(detail("key.update")["before"]["scopes"][0], "cache:purge");
    assert_eq!(detail("key.update")["after"]["perMinute"], 5);
    assert_eq!(detail("key.revoke")["reason"], "leaked");
    let pools = found(&stage, action("origins"), 1).await;
    let pool: serde_json::Value = serde_json::from_str(&pools[0].detail).unwrap();
    assert_eq!(pool["before"], serde_json::Value::Null);
    assert_eq!(pool["after"]["origins"][0]["name"], "a");
}

#[tokio::test]
async fn who_is_refused_is_told_too_and_many_times_the_same_is_told_together() {
    let mut stage = Stage::begin().await;
    let (_, text) = make(&stage, "reader", scoped(&["cache:read"])).await.unwrap();
    for _ in 0..50 {
        assert_eq!(reason(&purge(&mut stage, &text).await.unwrap_err()), "SCOPE_MISSING");
    }
    let unknown = Request::new(GetStatusRequest {});
    assert_eq!(reason(&stage.admin.get_status(unknown).await.unwrap_err()), "API_KEY_MISSING");
    let refused = found(&stage, action("key.refused"), 2).await;
    let told: Vec<_> = refused.iter().map(|it| (it.target.as_str(), it.count)).collect();
    assert_eq!(told, [("API_KEY_MISSING", 1), ("SCOPE_MISSING", 1)]);
    assert_eq!((refused[1].key_name.as_str(), refused[0].key_name.as_str()), ("reader", ""));
    // What was counted since is not lost.
    let mut stage = stage.restart(|_| {}).await;
    let refused = found(&stage, action("key.refused"), 3).await;
    assert_eq!((refused[0].target.as_str(), refused[0].count), ("SCOPE_MISSING", 49));
    let block = BlockRequest { ids: vec![blob(1)], ..Default::default() };
    stage.admin.block(stage.keyed(block)).await.unwrap();
    let system = AuditFilter { class: "system".to_owned(), ..AuditFilter::default() };
    let system = found(&stage, system, 3).await;
    let system: Vec<_> = system.iter().rev().map(|entry| entry.action.as_str()).collect();
    assert_eq!(system, ["control_plane.start", "control_plane.stop", "control_plane.start"]);
}

#[tokio::test]
async fn an_exported_log_is_a_whole_chain_and_whatever_is_done_to_it_shows() {
    let mut stage = Stage::begin().await;
    for _ in 0..5 {
        let key = stage.key.clone();
        purge(&mut stage, &key).await.unwrap();
    }
    let text = export(&stage, AuditFormat::Jsonl, None).await;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() >= 8, "{text}");
    assert_eq!(verify(&lines).unwrap(), lines.len() as u64 - 1);
    let changed = text.replacen("\"purge\"", "\"block\"", 1);
    let changed: Vec<&str> = changed.lines().collect();
    assert!(matches!(verify(&changed), Err(BrokenChain::Changed { .. })));
    let mut removed = lines.clone();
    removed.remove(3);
    assert!(matches!(verify(&removed), Err(BrokenChain::Gap { .. })));
    let mut moved = lines.clone();
    moved.swap(2, 4);
    assert!(verify(&moved).is_err());
    let mut cut = lines.clone();
    cut.remove(lines.len() - 2);
    assert!(matches!(verify(&cut), Err(BrokenChain::Ends { .. })));
    // Some of it is a list, and says nothing of the rest: it has no head.
    let some = export(&stage, AuditFormat::Jsonl, Some(action("purge"))).await;
    assert_eq!(some.lines().count(), 5);
    assert!(!some.contains("\"head\""));
    let csv = export(&stage, AuditFormat::Csv, Some(action("purge"))).await;
    let csv: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(csv.len(), 6);
    assert!(csv[0].starts_with("seq,at_ms,class,action,"), "{}", csv[0]);
    assert!(csv[1].contains(",operation,purge,done,"), "{}", csv[1]);
}

#[tokio::test]
async fn several_control_planes_write_one_chain() {
    let server = server().await;
    let (mut first, mut second) = two(&server.url("postgres")).await;
    for _ in 0..20 {
        for stage in [&mut first, &mut second] {
            let request = stage.keyed(BarrierRequest {});
            stage.admin.barrier(request).await.unwrap();
        }
    }
    let text = export(&second, AuditFormat::Jsonl, None).await;
    let lines: Vec<&str> = text.lines().collect();
    verify(&lines).unwrap();
    assert_eq!(list(&first, action("barrier")).await.len(), 40);
}
