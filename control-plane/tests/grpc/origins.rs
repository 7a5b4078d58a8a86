//! Origins and how they do.

use tonic::Code;
use wcdn_control_plane::{Config, config::OriginConfig};
use wcdn_proto::pb::{
    admin::v1::{
        GetOriginHealthRequest, GetOriginsRequest, OriginKind, OriginState, ProbeOriginsRequest,
        RefreshOriginsRequest, SetOriginsRequest, refresh_origins_request::Source,
    },
    edge::v1::{Lie, OriginTraffic, Report, SessionRequest, session_request::Kind as Up},
};

use crate::stage::{Stage, all, reason};

fn origin(name: &str, url: &str) -> OriginConfig {
    OriginConfig { name: name.parse().unwrap(), url: url.parse().unwrap(), trusted: false }
}

/// Two origins where nobody answers, which are asked by hand.
fn given(config: &mut Config) {
    config.origins = vec![origin("a", "http://127.0.0.1:1"), origin("b", "http://no.invalid")];
    config.publishers = vec![origin("a", "https://127.0.0.1:1")];
    config.health.interval = "1h".parse().unwrap();
    config.health.timeout = "2s".parse().unwrap();
    config.health.allow_private = true;
}

async fn probe(stage: &mut Stage, names: &[&str]) -> Vec<(String, String)> {
    let names = names.iter().map(ToString::to_string).collect();
    let request = ProbeOriginsRequest { names, ..ProbeOriginsRequest::default() };
    let stream = stage.admin.probe_origins(stage.keyed(request)).await.unwrap().into_inner();
    let answers = all(stream).await.unwrap().into_iter();
    let mut told: Vec<_> =
        answers.map(|answer| (answer.name, answer.probe.unwrap().result)).collect();
    told.sort();
    told
}

#[tokio::test]
async fn until_origins_are_set_those_of_the_configuration_are_told_and_asked() {
    let mut stage = Stage::with(given).await;
    let got = stage.admin.get_origins(stage.keyed(GetOriginsRequest {})).await.unwrap();
    let mut pool = got.into_inner().pool.unwrap();
    assert_eq!((pool.revision, pool.origins.len(), pool.publishers.len()), (0, 2, 1));
    let edge = stage.edge_named("e", None).await;
    assert_eq!((edge.pool.revision, edge.pool.origins.len()), (0, 0), "edges go by their own");
    pool.origins.truncate(1);
    let set = SetOriginsRequest { pool: Some(pool) };
    stage.admin.set_origins(stage.keyed(set)).await.unwrap();
    assert_eq!(
        probe(&mut stage, &[]).await,
        [("a".into(), "connect".into()), ("a".into(), "connect".into())]
    );
}

#[tokio::test]
async fn who_cannot_be_reached_is_told_by_how_and_remembered_until_it_leaves() {
    let mut stage = Stage::with(given).await;
    let told = probe(&mut stage, &["b"]).await;
    assert_eq!(told.len(), 1);
    assert!(["dns", "timeout"].contains(&told[0].1.as_str()), "{told:?}");
    for _ in 0..4 {
        probe(&mut stage, &["a"]).await;
    }
    let request = GetOriginHealthRequest { names: vec!["a".into()], ..Default::default() };
    let answer = stage.admin.get_origin_health(stage.keyed(request)).await.unwrap();
    let health = answer.into_inner().origins;
    let kinds: Vec<_> = health.iter().map(|health| health.kind()).collect();
    assert_eq!(kinds, [OriginKind::Aggregator, OriginKind::Publisher]);
    assert_eq!(health[0].state(), OriginState::Unhealthy);
    assert!(health[0].probes.len() >= 4 && health[0].score == 0, "{:?}", health[0]);
    assert!(health[0].reason.contains("onnection refused"), "{}", health[0].reason);
    let best = GetOriginHealthRequest { healthy: true, best: 5, brief: true, ..Default::default() };
    let answer = stage.admin.get_origin_health(stage.keyed(best)).await.unwrap();
    assert!(answer.into_inner().origins.iter().all(|it| it.state() == OriginState::Healthy));
}

#[tokio::test]
async fn private_addresses_are_not_asked_unless_they_may_be_and_that_is_held_against_nobody() {
    let mut stage = Stage::with(|config| {
        given(config);
        config.origins.truncate(1);
        config.publishers.clear();
        config.health.allow_private = false;
    })
    .await;
    for _ in 0..4 {
        assert_eq!(probe(&mut stage, &[]).await, [("a".into(), "skipped".into())]);
    }
    let request = GetOriginHealthRequest::default();
    let answer = stage.admin.get_origin_health(stage.keyed(request)).await.unwrap();
    let health = answer.into_inner().origins.remove(0);
    assert_eq!((health.state(), health.score), (OriginState::Healthy, 100));
    assert!(health.probes[0].reason.contains("is not in the public internet"), "{health:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let mut stage = Stage::with(given).await;
    let unknown = ProbeOriginsRequest { names: vec!["z".into()], ..Default::default() };
    let told = stage.admin.probe_origins(stage.keyed(unknown)).await.unwrap_err();
    assert_eq!(told.code(), Code::InvalidArgument);
    assert!(told.message().contains("names[0] is \"z\", which is no origin"), "{told}");
    let refresh = async |stage: &mut Stage, source| {
        let request = RefreshOriginsRequest { source, ..Default::default() };
        let told = stage.admin.refresh_origins(stage.keyed(request)).await.unwrap_err();
        (told.code(), reason(&told))
    };
    let invalid = (Code::InvalidArgument, "INVALID_REQUEST".to_owned());
    assert_eq!(refresh(&mut stage, None).await, invalid);
    let document = Some(Source::Document("[]".into()));
    assert_eq!(refresh(&mut stage, document).await, invalid);
    let refused = (Code::FailedPrecondition, "OPERATORS_REFUSED".to_owned());
    let url = Some(Source::Url("http://127.0.0.1:1/operators.json".into()));
    assert_eq!(refresh(&mut stage, url).await, refused, "nobody is there");
}

#[tokio::test]
async fn a_report_of_too_many_origins_or_lies_is_refused() {
    for report in [
        Report { origins: vec![OriginTraffic::default(); 4_097], ..Report::default() },
        Report { lies: vec![Lie::default(); 1_025], ..Report::default() },
    ] {
        let mut stage = Stage::begin().await;
        let mut edge = stage.edge_named("a", None).await;
        edge.up.send(SessionRequest { kind: Some(Up::Report(report)) }).await.unwrap();
        let refused = edge.next().await.unwrap_err();
        assert!(refused.message().contains("; the most is "), "{refused:?}");
    }
}
