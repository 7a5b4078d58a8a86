//! How much callers may ask for.

use std::time::Duration;

use tonic::{Code, Request};
use tonic_types::StatusExt as _;
use wcdn_proto::pb::admin::v1::{
    GetCallerRequest, GetStatusRequest, KeySettings, key_service_client::KeyServiceClient,
};

use crate::{
    keys::{make, scoped, with_key},
    stage::{Stage, reason},
};

#[tokio::test]
async fn who_is_beyond_the_minutes_requests_is_told_how_long_to_wait() {
    let stage = Stage::with(|config| config.limits.key_per_minute = 3).await;
    let settings = KeySettings { per_minute: 5, ..scoped(&["*"]) };
    let (_, text) = make(&stage, "more", settings).await.unwrap();
    let mut keys = KeyServiceClient::new(stage.channel());
    for n in (0..5).rev() {
        let asked = with_key(&text, GetCallerRequest {});
        let answer = keys.get_caller(asked).await.unwrap();
        let left = answer.metadata().get("ratelimit").unwrap().to_str().unwrap().to_owned();
        assert!(left.starts_with(&format!("\"key\";r={n};t=")), "{left}");
        let policy = answer.metadata().get("ratelimit-policy").unwrap();
        assert_eq!(policy.to_str().unwrap(), "\"key\";q=5;w=60");
    }
    let refused = keys.get_caller(with_key(&text, GetCallerRequest {})).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::ResourceExhausted, "RATE_LIMITED".into())
    );
    let wait = refused.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    assert!(wait > Duration::from_secs(8) && wait <= Duration::from_secs(12), "{wait:?}");
    assert_eq!(refused.metadata().get("retry-after").unwrap(), "12");
    // Another key has its own budget, of which one request is spent.
    for n in 0..3 {
        let mut request = Request::new(GetCallerRequest {});
        request.metadata_mut().insert("x-api-key", stage.key.parse().unwrap());
        assert_eq!(keys.get_caller(request).await.is_ok(), n < 2, "{n}");
    }
}

#[tokio::test]
async fn an_address_without_a_key_has_a_budget_by_the_word_of_a_trusted_proxy() {
    let mut stage = Stage::with(|config| {
        config.limits.anonymous_per_minute = 2;
        config.proxy.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    for (viewer, expected) in [
        ("192.0.2.1", "API_KEY_MISSING"),
        ("192.0.2.1", "API_KEY_MISSING"),
        ("192.0.2.1", "RATE_LIMITED"),
        ("1.1.1.1, 192.0.2.1", "RATE_LIMITED"),
        ("192.0.2.2", "API_KEY_MISSING"),
        ("2001:db8::1", "API_KEY_MISSING"),
        ("2001:db8::2", "API_KEY_MISSING"),
        ("2001:db8::3", "RATE_LIMITED"),
    ] {
        let mut request = Request::new(GetStatusRequest {});
        request.metadata_mut().insert("x-forwarded-for", viewer.parse().unwrap());
        let refused = stage.admin.get_status(request).await.unwrap_err();
        assert_eq!(reason(&refused), expected, "{viewer}");
    }
}

#[tokio::test]
async fn whoever_guesses_keys_is_slowed_and_others_from_there_go_on() {
    let mut stage = Stage::begin().await;
    assert!(stage.admin.get_status(stage.keyed(GetStatusRequest {})).await.is_ok());
    let mut reasons = Vec::new();
    for n in 0..12 {
        let guess = format!("a-guess-at-a-key-{n:04}");
        let refused = stage.admin.get_status(with_key(&guess, GetStatusRequest {})).await;
        reasons.push(reason(&refused.unwrap_err()));
    }
    assert!(reasons[..10].iter().all(|reason| reason == "API_KEY_UNKNOWN"), "{reasons:?}");
    assert_eq!(reasons[11], "TOO_MANY_FAILURES");
    // A key that is known costs no look into the store.
    assert!(stage.admin.get_status(stage.keyed(GetStatusRequest {})).await.is_ok());
}
