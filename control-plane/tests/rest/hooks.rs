//! What comes through hooks.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::stage::{Answer, Stage, blob};

struct Hook {
    path: String,
    secret: Vec<u8>,
}

impl Hook {
    async fn make(stage: &Stage, asked: serde_json::Value) -> Self {
        let made = stage.ask("POST", "/hooks").json(&asked).send().await;
        assert_eq!(made.status, 201, "{made:?}");
        let secret =
            made.json()["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap().to_owned();
        let path = made.json()["path"].as_str().unwrap().to_owned();
        Self { path, secret: STANDARD.decode(secret).unwrap() }
    }

    async fn call(&self, stage: &Stage, id: &str, age: u64, body: serde_json::Value) -> Answer {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (at, body) = ((now - age).to_string(), body.to_string());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let tag = hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(tag));
        let asking = stage.bare("POST", &self.path).header("webhook-id", id);
        let asking =
            asking.header("webhook-timestamp", &at).header("webhook-signature", &signature);
        asking.body(body, "application/json").send().await
    }
}

#[tokio::test]
async fn a_signed_call_purges_once_and_no_other_does() {
    let stage = Stage::begin().await;
    let hook = Hook::make(&stage, json!({"name": "deploy"})).await;
    let asked = json!({"ids": [blob(1)]});
    let done = hook.call(&stage, "msg_1", 0, asked.clone()).await;
    assert_eq!((done.status.as_u16(), &done.json()["purge"]["by"]), (202, &json!("hook:deploy")));
    let again = hook.call(&stage, "msg_1", 0, asked.clone()).await;
    assert_eq!(again.json()["purge"]["id"], done.json()["purge"]["id"], "the same call again");
    let other = hook.call(&stage, "msg_1", 0, json!({"ids": [blob(2)]})).await;
    assert_eq!((other.status.as_u16(), other.code()), (409, "IDEMPOTENCY_TOKEN_REUSED".into()));
    let old = hook.call(&stage, "msg_2", 301, asked.clone()).await;
    assert_eq!((old.status.as_u16(), old.code()), (401, "HOOK_NOT_SIGNED".into()));
    let forged = Hook { secret: vec![0; 32], path: hook.path.clone() };
    assert_eq!(forged.call(&stage, "msg_3", 0, asked.clone()).await.status, 401);
    let elsewhere =
        Hook { secret: hook.secret.clone(), path: format!("/hooks/{}", "0".repeat(48)) };
    let elsewhere = elsewhere.call(&stage, "msg_4", 0, asked).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.code()), (404, "HOOK_UNKNOWN".into()));
    let list = stage.ask("GET", "/hooks").send().await.json();
    assert!(list["items"][0]["usedAt"].is_string(), "{list}");
    let audit = stage.ask("GET", "/audit?key=hook:deploy&action=purge").send().await.json();
    assert_eq!(audit["items"][0]["keyName"], "hook:deploy");
}

#[tokio::test]
async fn a_hook_does_what_it_may_and_nothing_else() {
    let stage = Stage::begin().await;
    let some = Hook::make(&stage, json!({"name": "some"})).await;
    let all = some.call(&stage, "msg_1", 0, json!({"all": true})).await;
    assert_eq!((all.status.as_u16(), all.code()), (403, "SCOPE_MISSING".into()));
    let force = some.call(&stage, "msg_2", 0, json!({"ids": [blob(1)], "force": true})).await;
    assert_eq!((force.status.as_u16(), force.code()), (403, "HOOK_MAY_NOT_FORCE".into()));
    let wrong = some.call(&stage, "msg_3", 0, json!({"delete": "everything"})).await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (400, "INVALID_REQUEST".into()));
    let every = Hook::make(&stage, json!({"name": "every", "all": true, "force": true})).await;
    assert_eq!(
        every.call(&stage, "msg_1", 0, json!({"all": true, "force": true})).await.status,
        202
    );
    let list = stage.ask("GET", "/hooks").send().await.json();
    for hook in list["items"].as_array().unwrap() {
        let path = format!("/hooks/{}", hook["id"].as_str().unwrap());
        assert_eq!(stage.ask("DELETE", &path).send().await.status, 204);
    }
    let gone = every.call(&stage, "msg_2", 0, json!({"all": true})).await;
    assert_eq!((gone.status.as_u16(), gone.code()), (404, "HOOK_UNKNOWN".into()));
}
