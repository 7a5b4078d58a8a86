//! Who may ask, and what is told to those who may not.

use serde_json::{Value, json};

use crate::stage::{Stage, blob};

/// Every call that the description has: method, path, whether it needs a key.
async fn calls(stage: &Stage) -> Vec<(String, String, Value)> {
    let described = stage.bare("GET", "/api/v1/openapi.json").send().await.json();
    let mut calls = Vec::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, call) in methods.as_object().unwrap() {
            let path = path.replace("{id}", &blob(1));
            calls.push((method.to_ascii_uppercase(), path, call.clone()));
        }
    }
    calls
}

#[tokio::test]
async fn every_call_needs_a_key_and_the_scope_that_it_is_described_with() {
    let stage = Stage::begin().await;
    let none = stage.make("none", &["analytics:read"]).await;
    for (method, path, call) in calls(&stage).await {
        let name = format!("{method} {path}");
        let nobody = stage.ask(&method, &path).without("x-api-key").send().await;
        if path == "/health" {
            assert_eq!(nobody.status, 200, "{name}");
            continue;
        }
        assert_eq!(
            (nobody.status.as_u16(), nobody.code()),
            (401, "API_KEY_MISSING".into()),
            "{name}"
        );
        assert!(nobody.header("www-authenticate").starts_with("Bearer"), "{name}");
        let answer = stage.ask(&method, &path).header("x-api-key", &none).send().await;
        if path == "/me" {
            assert_eq!(answer.status, 200, "{name}");
            continue;
        }
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (403, "SCOPE_MISSING".into()),
            "{name}"
        );
        let scopes = call["x-scopes"].as_array().unwrap();
        let told = answer.json()["detail"].as_str().unwrap().to_owned();
        let first = scopes[0].as_str().unwrap();
        assert!(told.contains(first), "{name}: {told} does not name {first}");
    }
}

#[tokio::test]
async fn an_error_is_a_problem_with_the_name_of_the_request() {
    let stage = Stage::begin().await;
    let asked = json!({"ids": [blob(1), "nope"]});
    let asking = stage.ask("POST", "/invalidate").json(&asked).header("x-request-id", "mine-1");
    let answer = asking.send().await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("x-request-id"), "mine-1");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let problem = answer.json();
    assert_eq!(problem["type"], "/docs/errors#INVALID_REQUEST");
    assert_eq!((&problem["title"], &problem["status"]), (&json!("Bad Request"), &json!(400)));
    assert_eq!(problem["instance"], "/api/v1/invalidate");
    assert_eq!(problem["error"]["requestId"], "mine-1");
    assert_eq!(problem["error"]["fields"][0]["field"], "ids[1]");
    let evil = stage.ask("GET", "/nodes").header("x-request-id", "a\"b<script>").send().await;
    assert_eq!(evil.header("x-request-id").len(), 24, "it is none of ours");
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_asked_for_so_is_told() {
    let stage = Stage::begin().await;
    let nowhere = stage.ask("GET", "/nowhere").send().await;
    assert_eq!((nowhere.status.as_u16(), nowhere.code()), (404, "PATH_UNKNOWN".into()));
    let wrong = stage.ask("PATCH", "/nodes").send().await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (405, "METHOD_NOT_ALLOWED".into()));
    assert_eq!(wrong.header("allow"), "GET,HEAD");
    let head = stage.ask("HEAD", "/nodes").send().await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    let head = stage.ask("HEAD", "/nodes").without("x-api-key").send().await;
    assert_eq!((head.status.as_u16(), head.body.len()), (401, 0));
    for (short, home) in [
        ("/preload", "/api/v1/preload"),
        ("/cache/abc?force=true", "/api/v1/cache/abc?force=true"),
        ("/upload/file", "/api/v1/files"),
    ] {
        let moved = stage.bare("POST", short).send().await;
        assert_eq!((moved.status.as_u16(), moved.header("location")), (308, home), "{short}");
    }
}

#[tokio::test]
async fn what_is_not_known_is_refused_with_its_name() {
    let stage = Stage::begin().await;
    let field = |answer: crate::stage::Answer| {
        assert_eq!(answer.status, 400, "{answer:?}");
        answer.json()["error"]["fields"][0]["field"].as_str().unwrap().to_owned()
    };
    let asked = json!({"ids": [blob(1)], "forced": true});
    assert_eq!(field(stage.ask("POST", "/invalidate").json(&asked).send().await), "forced");
    let asked = json!({"prefix": "a/"});
    assert_eq!(field(stage.ask("POST", "/invalidate").json(&asked).send().await), "prefix");
    assert_eq!(field(stage.ask("GET", "/pins?sort=up").send().await), "sort");
    assert_eq!(field(stage.ask("GET", "/pins?state=eaten").send().await), "state");
    assert_eq!(field(stage.ask("GET", "/audit?from=yesterday").send().await), "from");
    assert_eq!(field(stage.ask("GET", "/events?after=12").send().await), "after");
    assert_eq!(
        field(stage.ask("POST", "/keys").json(&json!({"name": "a"})).send().await),
        "scopes"
    );
    let asked = json!({"name": "a", "scopes": ["cache:read"], "expiresAt": "soon"});
    assert_eq!(field(stage.ask("POST", "/keys").json(&asked).send().await), "expiresAt");
}

#[tokio::test]
async fn bodies_have_a_kind_and_a_bound() {
    let stage = Stage::begin().await;
    let text = stage.ask("POST", "/invalidate").body("{}", "text/plain").send().await;
    assert_eq!((text.status.as_u16(), text.code()), (415, "MEDIA_TYPE_UNSUPPORTED".into()));
    let large = " ".repeat((1 << 20) + 1);
    let large = stage.ask("POST", "/keys").body(large, "application/json").send().await;
    assert_eq!((large.status.as_u16(), large.code()), (413, "BODY_TOO_LARGE".into()));
    // Strangers cost no body that is read.
    let large = " ".repeat(9 << 20);
    let asking = stage.bare("POST", "/api/v1/invalidate").body(large, "application/json");
    assert_eq!(asking.send().await.status, 401);
}

#[tokio::test]
async fn what_is_left_of_the_budget_is_told() {
    let stage = Stage::with(|config| config.limits.key_per_minute = 3).await;
    for left in ["2", "1", "0"] {
        let answer = stage.ask("GET", "/me").send().await;
        assert_eq!(answer.header("ratelimit-policy"), "\"key\";q=3;w=60");
        assert!(
            answer.header("ratelimit").starts_with(&format!("\"key\";r={left};t=")),
            "{answer:?}"
        );
    }
    let refused = stage.ask("GET", "/me").send().await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "RATE_LIMITED".into()));
    assert_eq!(refused.header("retry-after"), "20");
    assert!(refused.header("ratelimit").starts_with("\"key\";r=0;t="), "{refused:?}");
    let health = stage.bare("GET", "/health").send().await;
    assert_eq!(health.header("ratelimit-policy"), "\"anonymous\";q=100;w=60");
}
