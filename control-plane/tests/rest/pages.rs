//! What a browser is shown.

use crate::stage::Stage;

#[tokio::test]
async fn the_description_can_be_tried_out_and_nothing_comes_from_elsewhere() {
    let stage = Stage::begin().await;
    let root = stage.bare("GET", "/").send().await;
    assert_eq!((root.status.as_u16(), root.header("location")), (307, "/docs/"));
    let page = stage.bare("GET", "/docs/").send().await;
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(!text.contains("https://") && !text.contains("//cdn"), "{text}");
    for (name, value) in [("x-frame-options", "DENY"), ("referrer-policy", "no-referrer")] {
        assert_eq!(page.header(name), value);
    }
    let policy = page.header("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("script-src 'self'"));
    for file in ["swagger-ui-bundle.js", "swagger-ui.css", "swagger-initializer.js"] {
        let found = stage.bare("GET", &format!("/docs/{file}")).send().await;
        assert_eq!(found.status, 200, "{file}");
        assert!(!found.body.is_empty(), "{file}");
    }
    assert_eq!(stage.bare("GET", "/docs/nothing.js").send().await.status, 404);
    assert_eq!(stage.bare("GET", "/docs/..%2fsecret").send().await.status, 404);
}

#[tokio::test]
async fn every_error_is_explained_on_a_page() {
    let stage = Stage::begin().await;
    let page = stage.bare("GET", "/docs/errors").send().await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(text.contains("id=\"RATE_LIMITED\""));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
}
