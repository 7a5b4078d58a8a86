//! API keys.

use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn a_key_is_made_changed_rotated_and_revoked() {
    let stage = Stage::begin().await;
    let asked = json!({"name": "ci", "scopes": ["cache:purge"], "perMinute": 7});
    let made = stage.ask("POST", "/keys").json(&asked).send().await;
    assert_eq!((made.status.as_u16(), made.header("etag")), (201, "\"r1\""));
    let (id, key) = (made.json()["id"].clone(), made.json()["key"].as_str().unwrap().to_owned());
    assert!(made.header("location").ends_with(id.as_str().unwrap()));
    let me = stage.ask("GET", "/me").header("x-api-key", &key).send().await.json();
    assert_eq!((&me["key"]["name"], &me["address"]), (&json!("ci"), &json!("127.0.0.1")));
    let bearer = format!("Bearer {key}");
    let me = stage.ask("GET", "/me").without("x-api-key").header("authorization", &bearer);
    assert_eq!(me.send().await.status, 200);
    let patch = |tag: &'static str, body| {
        stage.ask("PATCH", "/keys/ci").json(&body).header("if-match", tag).send()
    };
    let changed = patch("\"r1\"", json!({"scopes": ["nodes:read"], "perMinute": null})).await;
    assert_eq!((changed.status.as_u16(), changed.header("etag")), (200, "\"r2\""));
    assert_eq!(
        (&changed.json()["scopes"], &changed.json()["perMinute"]),
        (&json!(["nodes:read"]), &json!(null))
    );
    let late = patch("\"r1\"", json!({"scopes": ["*"]})).await;
    assert_eq!((late.status.as_u16(), late.code()), (412, "KEY_CHANGED".into()));
    let kept = patch("*", json!({"networks": ["127.0.0.0/8"]})).await.json();
    assert_eq!(
        (&kept["scopes"], &kept["networks"]),
        (&json!(["nodes:read"]), &json!(["127.0.0.0/8"]))
    );
    assert_eq!(stage.ask("GET", "/nodes").header("x-api-key", &key).send().await.status, 200);
    let rotated = stage.ask("POST", "/keys/ci/rotate").json(&json!({"grace": "0s"})).send().await;
    let second = rotated.json()["key"].as_str().unwrap().to_owned();
    let old = stage.ask("GET", "/me").header("x-api-key", &key).send().await;
    assert_eq!((old.status.as_u16(), old.code()), (401, "API_KEY_ROTATED".into()));
    assert_eq!(stage.ask("GET", "/me").header("x-api-key", &second).send().await.status, 200);
    let revoked = stage.ask("DELETE", "/keys/ci?reason=leaked").send().await;
    assert_eq!(
        (revoked.status.as_u16(), &revoked.json()["change"]["kind"]),
        (202, &json!("key.revoke"))
    );
    let gone = stage.ask("GET", "/me").header("x-api-key", &second).send().await;
    assert_eq!((gone.status.as_u16(), gone.code()), (401, "API_KEY_REVOKED".into()));
    let list = stage.ask("GET", "/keys?ended=true").send().await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let text = stage.ask("GET", "/keys?ended=true").send().await;
    let text = String::from_utf8(text.body.to_vec()).unwrap();
    assert!(
        !text.contains(&key[16..]) && !text.contains(&second[16..]),
        "no text of a key is told"
    );
}
