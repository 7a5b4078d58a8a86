//! What can be asked for.

use serde_json::{Value, json};

use crate::stage::{Stage, blob};

#[tokio::test]
async fn a_purge_is_answered_with_where_its_receipt_is() {
    let stage = Stage::begin().await;
    let asked = json!({"ids": [blob(1), blob(2)]});
    let answer = stage.ask("POST", "/invalidate").json(&asked).send().await;
    assert_eq!(answer.status, 202);
    let purge = answer.json()["purge"].clone();
    assert_eq!(
        (&purge["kind"], &purge["ids"], &purge["by"]),
        (&json!("purge"), &json!(2), &json!("first"))
    );
    let location = answer.header("location").to_owned();
    let receipt = stage.bare("GET", &location).header("x-api-key", &stage.key).send().await.json();
    assert_eq!(receipt["change"]["id"], purge["id"]);
    assert_eq!((&receipt["settled"], &receipt["nodes"]), (&json!(true), &json!([])));
    let id = purge["id"].as_str().unwrap();
    let waited = stage.ask("GET", &format!("/changes/{id}?wait=2s")).send().await.json();
    assert_eq!(waited["change"]["id"], purge["id"]);
    let none = stage.ask("GET", "/purges/chg_none").send().await;
    assert_eq!((none.status.as_u16(), none.code()), (404, "CHANGE_UNKNOWN".into()));
    let one = stage.ask("DELETE", &format!("/cache/{}", blob(3))).send().await;
    assert_eq!((one.status.as_u16(), &one.json()["purge"]["ids"]), (202, &json!(1)));
    let all = stage.ask("POST", "/invalidate").json(&json!({"all": true})).send().await;
    assert_eq!(all.status, 202);
    let both = json!({"all": true, "ids": [blob(1)]});
    assert_eq!(stage.ask("POST", "/invalidate").json(&both).send().await.status, 400);
}

#[tokio::test]
async fn the_same_request_under_the_same_key_is_one_change() {
    let stage = Stage::begin().await;
    let asked = json!({"ids": [blob(1)]});
    let send = |asked: &Value| {
        stage.ask("POST", "/invalidate").json(asked).header("idempotency-key", "\"once\"").send()
    };
    let first = send(&asked).await.json()["purge"]["id"].clone();
    assert_eq!(send(&asked).await.json()["purge"]["id"], first);
    let other = send(&json!({"ids": [blob(2)]})).await;
    assert_eq!((other.status.as_u16(), other.code()), (409, "IDEMPOTENCY_TOKEN_REUSED".into()));
}

#[tokio::test]
async fn pins_and_blocks_come_and_go_and_are_listed_in_pages() {
    let stage = Stage::begin().await;
    for n in 0..5 {
        let pin = stage.ask("PUT", &format!("/pins/{}", blob(n))).json(&json!({"note": "n"}));
        assert_eq!(pin.send().await.status, 202);
        let block = stage.ask("PUT", &format!("/blocks/{}", blob(n))).send().await;
        assert_eq!(block.json()["change"]["kind"], "block");
    }
    for list in ["/pins", "/blocks"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page =
                stage.ask("GET", &format!("{list}?limit=2&cursor={cursor}")).send().await.json();
            seen.extend(page["items"].as_array().unwrap().iter().map(|it| it["id"].clone()));
            let Some(next) = page["next"].as_str() else { break };
            cursor = next.to_owned();
        }
        assert_eq!(seen.len(), 5, "{list}");
    }
    let pin = stage.ask("GET", &format!("/pins/{}", blob(1))).send().await.json();
    assert_eq!((&pin["note"], &pin["standing"]["state"]), (&json!("n"), &json!("requested")));
    let refused = stage.ask("POST", "/invalidate").json(&json!({"ids": [blob(1)]})).send().await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "PINNED".into()));
    assert_eq!(stage.ask("DELETE", &format!("/pins/{}", blob(1))).send().await.status, 202);
    let gone = stage.ask("GET", &format!("/pins/{}", blob(1))).send().await;
    assert_eq!((gone.status.as_u16(), gone.code()), (404, "NOT_PINNED".into()));
    let explained = stage.ask("GET", &format!("/blobs/{}/explain", blob(2))).send().await.json();
    assert_eq!((&explained["blocked"], &explained["pinned"]), (&json!(true), &json!(true)));
    let known = stage.ask("GET", &format!("/blobs/{}", blob(2))).send().await.json();
    assert_eq!((&known["blocked"], &known["regions"]), (&json!(true), &json!([])));
    assert_eq!(stage.ask("DELETE", &format!("/blocks/{}", blob(2))).send().await.status, 202);
}

#[tokio::test]
async fn origins_are_replaced_only_by_those_who_have_read_them() {
    let stage = Stage::begin().await;
    let before = stage.ask("GET", "/origins").send().await;
    assert_eq!(before.header("etag"), "\"r0\"");
    let pool = json!({"origins": [{"name": "a", "url": "http://a.example"}]});
    let blind = stage.ask("PUT", "/origins").json(&pool).send().await;
    assert_eq!((blind.status.as_u16(), blind.code()), (428, "PRECONDITION_REQUIRED".into()));
    let set = stage.ask("PUT", "/origins").json(&pool).header("if-match", "\"r0\"").send().await;
    assert_eq!((set.status.as_u16(), set.header("etag")), (200, "\"r1\""));
    let late = stage.ask("PUT", "/origins").json(&pool).header("if-match", "\"r0\"").send().await;
    assert_eq!((late.status.as_u16(), late.code()), (412, "ORIGINS_CHANGED".into()));
    let any = stage.ask("PUT", "/origins").json(&pool).header("if-match", "*").send().await;
    assert_eq!(any.header("etag"), "\"r2\"");
    let health = stage.ask("GET", "/origins/health?brief=true").send().await.json();
    assert_eq!(
        (&health["items"][0]["name"], &health["items"][0]["kind"]),
        (&json!("a"), &json!("aggregator"))
    );
    let wrong = json!({"origins": [{"name": "A b", "url": "nowhere"}]});
    let wrong = stage.ask("PUT", "/origins").json(&wrong).header("if-match", "*").send().await;
    assert_eq!(wrong.json()["error"]["fields"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_preload_without_nodes_and_one_that_is_not_known_are_told() {
    let stage = Stage::begin().await;
    let none = stage.ask("POST", "/preload").json(&json!({"ids": [blob(1)]})).send().await;
    assert_eq!((none.status.as_u16(), none.code()), (409, "NO_NODES".into()));
    let unknown = stage.ask("GET", "/preload/pre_none").send().await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (404, "PRELOAD_UNKNOWN".into()));
}

#[tokio::test]
async fn the_control_plane_tells_of_itself() {
    let stage = Stage::begin().await;
    assert_eq!(stage.ask("GET", "/nodes").send().await.json()["items"], json!([]));
    let status = stage.ask("GET", "/status").send().await.json();
    assert_eq!(
        (&status["version"], &status["nodesLive"]),
        (&json!(env!("CARGO_PKG_VERSION")), &json!(0))
    );
    let barrier = stage.ask("POST", "/barrier").send().await;
    assert_eq!(
        (barrier.status.as_u16(), &barrier.json()["change"]["kind"]),
        (202, &json!("barrier"))
    );
    let health = stage.bare("GET", "/health").send().await.json();
    assert_eq!(health["status"], "serving");
}

#[tokio::test]
async fn the_audit_log_is_listed_and_exported() {
    let stage = Stage::begin().await;
    let asking = stage.ask("POST", "/barrier").header("x-request-id", "asked-1");
    assert_eq!(asking.send().await.status, 202);
    let page = stage.ask("GET", "/audit?action=barrier&requestId=asked-1").send().await.json();
    let entry = &page["items"][0];
    assert_eq!((&entry["keyName"], &entry["address"]), (&json!("first"), &json!("127.0.0.1")));
    assert_eq!(entry["outcome"], "done");
    let csv = stage.ask("GET", "/audit/export?format=csv&action=barrier").send().await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.body.split(|byte| *byte == b'\n').count(), 3);
    let lines = stage.ask("GET", "/audit/export").send().await;
    let text = String::from_utf8(lines.body.to_vec()).unwrap();
    assert!(text.lines().last().unwrap().starts_with("{\"head\""), "{text}");
}
