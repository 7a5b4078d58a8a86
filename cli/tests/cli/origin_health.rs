//! How origins do: listed, shown, asked anew, and brought up to date with a list.

use serde_json::json;
use wcdn_proto::pb::{
    admin::v1::{
        HealthCell, OriginChange, OriginHealth, OriginKind, OriginProbe, OriginState,
        ProbeOriginsResponse, RefreshOriginsResponse, RegionTraffic,
    },
    edge::v1::{Origin, OriginPool, OriginTraffic},
};

use super::{
    desk::{COMMITTED_AT_MS, Desk},
    program::Shell,
};

fn probe(result: &str, reason: &str) -> OriginProbe {
    OriginProbe {
        at_ms: COMMITTED_AT_MS,
        asked: "absent".into(),
        result: result.into(),
        reason: reason.into(),
        took_us: 93_000,
    }
}

fn origin(name: &str) -> Option<Origin> {
    Some(Origin { name: name.into(), url: format!("https://{name}"), ..Origin::default() })
}

fn healths() -> Vec<OriginHealth> {
    let cell = |good, bad| HealthCell { from_ms: COMMITTED_AT_MS, good, bad };
    let strip = [vec![cell(0, 0); 48], vec![cell(6, 0); 44], vec![cell(1, 5); 4]].concat();
    let traffic = OriginTraffic {
        origin: "b".into(),
        requests: 40,
        timed_out: 38,
        lies: 1,
        bytes: 2 << 20,
        ..OriginTraffic::default()
    };
    let region = RegionTraffic {
        region: "eu-west".into(),
        traffic: Some(traffic),
        head_p50_ms: 200,
        head_p95_ms: 2_000,
    };
    let change = OriginChange {
        at_ms: COMMITTED_AT_MS,
        from: OriginState::Healthy.into(),
        to: OriginState::Unhealthy.into(),
        reason: "no answer within 5s".into(),
    };
    let good = OriginHealth {
        kind: OriginKind::Aggregator.into(),
        origin: origin("a"),
        state: OriginState::Healthy.into(),
        since_ms: COMMITTED_AT_MS,
        score: 97,
        probed_at_ms: COMMITTED_AT_MS,
        p50_us: 93_000,
        success_percent: 100,
        ..OriginHealth::default()
    };
    let bad = OriginHealth {
        origin: origin("b"),
        state: OriginState::Unhealthy.into(),
        reason: "no answer within 5s".into(),
        score: 12,
        p50_us: 0,
        success_percent: 40,
        probes: vec![probe("timeout", "no answer within 5s"), probe("ok", "")],
        strip,
        regions: vec![region],
        changes: vec![change],
        ..good.clone()
    };
    let new = OriginHealth {
        kind: OriginKind::Publisher.into(),
        origin: origin("p"),
        state: OriginState::Healthy.into(),
        score: 100,
        ..OriginHealth::default()
    };
    vec![good, bad, new]
}

async fn desk() -> Desk {
    let desk = Desk::start().await;
    desk.state().pool = OriginPool { revision: 3, ..OriginPool::default() };
    desk.state().health = healths();
    desk
}

#[tokio::test]
async fn origins_are_listed_with_how_they_do_and_their_day() {
    let desk = desk().await;
    let shell = Shell::of(&desk);
    let expected = "\
NAME  KIND        STATE      SCORE  P50    OK     24 HOURS                  URL        REASON
a     aggregator  healthy    97     93 ms  100 %                            https://a
b     aggregator  unhealthy  12     -      40 %   ············███████████▂  https://b  no answer within 5s
p     publisher   healthy    -      -      -                                https://p
2 of 3 origins healthy; revision 3
";
    assert_eq!(shell.run("origins").await.done(), expected);
    shell.run("origins --healthy --best 2 --publishers").await.done();
    let asked = desk.state().asked.last().unwrap().clone();
    assert!(asked.contains("kind: Publisher, healthy: true, best: 2"), "{asked}");
    let printed = shell.run("origins --json").await.json();
    let (b, p) = (&printed["origins"][1], &printed["origins"][2]);
    assert_eq!((&printed["revision"], &b["kind"]), (&json!(3), &json!("aggregator")));
    assert_eq!(
        (&b["state"], &b["score"], &b["p50Ms"]),
        (&json!("unhealthy"), &json!(12), &json!(null))
    );
    assert_eq!((&p["probedAt"], &p["successPercent"]), (&json!(null), &json!(null)));
    assert_eq!(b["strip"].as_array().unwrap().len(), 96);
    let region = json!({
        "region": "eu-west", "requests": 40, "unreachable": 0, "timedOut": 38, "refused": 0,
        "throttled": 0, "broken": 0, "slow": 0, "lies": 1, "bytes": 2 << 20, "headP50Ms": 200,
        "headP95Ms": 2_000,
    });
    assert_eq!(b["regions"], json!([region]));
    let probe = json!({
        "at": "2026-11-25T12:00:00.250Z", "asked": "absent", "result": "timeout",
        "reason": "no answer within 5s", "tookMs": 93.0,
    });
    assert_eq!(b["probes"][0], probe);
    let change = json!({
        "at": "2026-11-25T12:00:00.250Z", "from": "healthy", "to": "unhealthy",
        "reason": "no answer within 5s",
    });
    assert_eq!(b["changes"], json!([change]));
}

#[tokio::test]
async fn one_is_shown_with_all_that_is_known_of_it() {
    let desk = desk().await;
    desk.state().health.remove(0);
    desk.state().health.truncate(1);
    let day = format!("{}{}{}", "·".repeat(48), "█".repeat(44), "▂".repeat(4));
    let expected = format!(
        "\
b  aggregator  https://b
unhealthy since 2026-11-25T12:00:00.250Z: no answer within 5s
score 12, p50 -, 40 % ok, weight 100
{day}
AT                        ASKED   RESULT   TOOK   REASON
2026-11-25T12:00:00.250Z  absent  timeout  93 ms  no answer within 5s
2026-11-25T12:00:00.250Z  absent  ok       93 ms
REGION   REQUESTS  P50      P95   BYTES  FAILED
eu-west  40        ≤ 200ms  ≤ 2s  2 MiB  38 timed out, 1 lied
CHANGED AT                TO         WHY
2026-11-25T12:00:00.250Z  unhealthy  no answer within 5s
"
    );
    assert_eq!(Shell::of(&desk).run("origins show b").await.done(), expected);
}

#[tokio::test]
async fn each_answer_to_a_probe_is_printed() {
    let desk = desk().await;
    let answer = |name: &str, probe| ProbeOriginsResponse {
        kind: OriginKind::Aggregator.into(),
        name: name.into(),
        probe: Some(probe),
    };
    desk.state().probes =
        vec![answer("a", probe("ok", "")), answer("b", probe("tls", "no certificate"))];
    let shell = Shell::of(&desk);
    let expected = "\
a  absent  ok  93 ms
b  absent  tls  93 ms: no certificate
1 of 2 answers as they should
";
    assert_eq!(shell.run("origins probe").await.done(), expected);
    let lines = shell.run("origins probe a b --json").await.done();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["name"], &last["result"]), (&json!("b"), &json!("tls")));
}

#[tokio::test]
async fn a_list_of_operators_is_sent_or_named_and_what_changed_is_told() {
    let desk = desk().await;
    let shell = Shell::of(&desk);
    shell.file("list.json", "{}");
    desk.state().refreshed = RefreshOriginsResponse {
        added: vec!["n".into()],
        removed: vec!["o".into()],
        ..RefreshOriginsResponse::default()
    };
    let printed = shell.run("origins refresh list.json --dry-run").await.done();
    assert_eq!(printed, "+ n\n- o\nnothing was changed\n");
    let asked = desk.state().asked.last().unwrap().clone();
    assert!(asked.contains("Document(b\"{}\")") && asked.contains("dry_run: true"), "{asked}");
    desk.state().refreshed = RefreshOriginsResponse::default();
    let printed = shell.run("origins refresh https://x.example/operators.json").await.done();
    assert_eq!(printed, "the origins are up to date\n");
    let asked = desk.state().asked.last().unwrap().clone();
    assert!(asked.contains("Url(\"https://x.example/operators.json\")"), "{asked}");
}
