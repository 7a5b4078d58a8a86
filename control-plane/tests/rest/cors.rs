//! Pages of other origins.

use crate::stage::Stage;

const APP: &str = "https://app.example.org";

async fn stage() -> Stage {
    Stage::with(|config| {
        let origins = ["https://*.example.org"].map(|text| text.parse().unwrap());
        config.cors.origins = origins.into_iter().collect();
        config.cors.credentials = true;
    })
    .await
}

#[tokio::test]
async fn a_page_that_may_ask_may_read_the_answer_and_errors_too() {
    let stage = stage().await;
    for (path, status) in [("/me", 200), ("/pins?sort=1", 400), ("/nowhere", 404)] {
        let answer = stage.ask("GET", path).header("origin", APP).send().await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), APP, "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert!(answer.header("access-control-expose-headers").contains("ratelimit"));
        assert_eq!(answer.header("vary"), "origin");
    }
    let other = stage.ask("GET", "/me").header("origin", "https://evil.example").send().await;
    assert_eq!((other.status.as_u16(), other.header("access-control-allow-origin")), (200, ""));
    assert_eq!(other.header("vary"), "origin");
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_key_and_remembered() {
    let stage = stage().await;
    let preflight = |origin: &str| {
        let asking = stage.bare("OPTIONS", "/api/v1/keys").header("origin", origin);
        let asking = asking.header("access-control-request-method", "POST");
        asking.header("access-control-request-headers", "x-api-key,content-type").send()
    };
    let may = preflight(APP).await;
    assert_eq!(may.status, 204);
    assert_eq!(may.header("access-control-allow-origin"), APP);
    assert!(may.header("access-control-allow-methods").contains("PATCH"));
    assert!(may.header("access-control-allow-headers").contains("x-api-key"));
    assert_eq!(may.header("access-control-max-age"), "86400");
    let not = preflight("https://evil.example").await;
    assert_eq!(not.header("access-control-allow-origin"), "");
    assert_eq!(not.header("access-control-allow-methods"), "");
}

#[tokio::test]
async fn nobody_may_where_nobody_is_named_and_everybody_where_a_star_is() {
    let none = Stage::begin().await;
    let answer = none.ask("GET", "/me").header("origin", APP).send().await;
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), ("", ""));
    let all = Stage::with(|config| {
        config.cors.origins = ["*"].map(|text| text.parse().unwrap()).into_iter().collect();
    })
    .await;
    let answer = all.ask("GET", "/me").header("origin", APP).send().await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
}
