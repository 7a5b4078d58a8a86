//! Events: in pages, and as they come.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

use crate::stage::{PATIENCE, Stage, blob};

async fn purge(stage: &Stage, n: u8) -> String {
    let asked = json!({"ids": [blob(n)]});
    let answer = stage.ask("POST", "/invalidate").json(&asked).send().await;
    answer.json()["purge"]["last"].as_str().unwrap().to_owned()
}

/// A stream of events, read as a browser does.
struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    async fn open(stage: &Stage, last: Option<&str>) -> Self {
        let url = format!("http://{}/api/v1/live", stage.plane.http_addr());
        let mut request = Request::get(url).header("x-api-key", &stage.key);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let response = client.request(request.body(Empty::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event: its id, its kind and its data.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| {
                    let found = event.lines().find_map(|line| line.strip_prefix(name));
                    found.unwrap_or_default().trim().to_owned()
                };
                let told = (line("id:"), line("event:"), line("data:"));
                self.text = rest.to_owned();
                if told.1.is_empty() {
                    continue;
                }
                return Some((told.0, told.1, serde_json::from_str(&told.2).unwrap()));
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("something comes")?;
            let data = frame.ok()?.into_data().ok()?;
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }
}

#[tokio::test]
async fn events_are_told_as_they_come_and_again_to_whoever_missed_them() {
    let stage = Stage::begin().await;
    let mut events = Events::open(&stage, None).await;
    let first = purge(&stage, 1).await;
    let (id, kind, data) = events.next().await.unwrap();
    assert_eq!((id.as_str(), kind.as_str()), (first.as_str(), "purge"));
    assert_eq!((&data["ids"][0], &data["position"]), (&json!(blob(1)), &json!(first)));
    drop(events);
    let second = purge(&stage, 2).await;
    let mut events = Events::open(&stage, Some(&first)).await;
    assert_eq!(events.next().await.unwrap().0, second);
    // The end is told with its reason.
    stage.shutdown.cancel();
    let (_, kind, data) = events.next().await.unwrap();
    assert_eq!((kind.as_str(), &data["code"]), ("end", &json!("DRAINING")));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_web_socket_tells_the_same() {
    let stage = Stage::begin().await;
    let url = format!("ws://{}/api/v1/ws", stage.plane.http_addr());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("x-api-key", stage.key.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let at = purge(&stage, 1).await;
    loop {
        let message = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        let Message::Text(text) = message else { continue };
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["position"], at);
        break;
    }
    stage.shutdown.cancel();
    let ended = async {
        while let Some(Ok(message)) = socket.next().await {
            if matches!(message, Message::Close(_)) {
                return;
            }
        }
    };
    timeout(PATIENCE, ended).await.expect("it ends with the control plane");
    let plain = Stage::begin().await;
    let refused = plain.ask("GET", "/ws").send().await;
    assert_eq!((refused.status.as_u16(), refused.code()), (400, "INVALID_REQUEST".into()));
}

#[tokio::test]
async fn the_log_is_read_in_pages() {
    let stage = Stage::begin().await;
    for n in 0..5 {
        purge(&stage, n).await;
    }
    let (mut seen, mut query) = (Vec::new(), "limit=2".to_owned());
    loop {
        let page = stage.ask("GET", &format!("/events?{query}")).send().await.json();
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|it| it["position"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("limit=2&cursor={next}");
    }
    assert_eq!(seen.len(), 5);
    let after = stage.ask("GET", &format!("/events?after={}", seen[2])).send().await.json();
    assert_eq!(after["items"].as_array().unwrap().len(), 2);
    let gone = stage.ask("GET", "/events?after=1:1").send().await;
    assert_eq!((gone.status.as_u16(), gone.code()), (410, "LOG_TRUNCATED".into()));
}
