//! How origins are doing: told, and asked anew.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde_json::json;
use tokio::time::Instant;
use wcdn_proto::pb::admin::v1 as admin;

use super::stream::{self, Feed, Sent};
use crate::{
    audit::{Class, Draft},
    auth::Caller,
    desk::Desk,
    health::{
        probe::Probe,
        record::{Change, Origin, State},
        standing::Level,
        target::{Key, Kind, Target},
        traffic::Seen,
    },
    refusal::Refusal,
    store::{health::Cell, now_ms},
};

/// Changes of state that are told of one origin.
const MAX_CHANGES: usize = 10;

/// Names in one request.
const MAX_NAMES: usize = 1_000;

pub(crate) async fn get(
    desk: &Desk,
    _: &Caller,
    request: admin::GetOriginHealthRequest,
) -> Result<admin::GetOriginHealthResponse, Refusal> {
    let pool = desk.health.pools.now();
    let targets = chosen(desk, &request.names, request.kind())?;
    let mut known = desk.store.origins().await?;
    let now_ms = now_ms();
    let mut told: Vec<(Target, Origin)> = targets
        .into_iter()
        .map(|target| {
            let known = known.remove(&target.key).filter(|it| it.url == target.url.to_string());
            let origin = known.unwrap_or_else(|| Origin::new(&target, now_ms));
            (target, origin)
        })
        .collect();
    if request.healthy {
        told.retain(|(_, origin)| origin.state == State::At(Level::Healthy));
    }
    if request.best > 0 {
        told.sort_by_key(|(_, origin)| (origin.state == State::Ejected, Reverse(origin.score)));
        told.truncate(usize::try_from(request.best).unwrap_or(usize::MAX));
    }
    let details = match request.brief {
        true => Details::default(),
        false => Details::read(desk, now_ms).await?,
    };
    let origins = told.iter().map(|(target, origin)| details.tell(desk, target, origin)).collect();
    Ok(admin::GetOriginHealthResponse { revision: pool.revision, origins })
}

pub(crate) fn probe(
    desk: &Arc<Desk>,
    caller: &Caller,
    request: admin::ProbeOriginsRequest,
) -> Result<Sent<admin::ProbeOriginsResponse>, Refusal> {
    let targets = chosen(desk, &request.names, request.kind())?;
    let room = desk.room_to_watch()?;
    let draft = Draft::done(Class::Operation, "origins.probe", caller.author());
    let detail = json!({"origins": targets.len()});
    desk.audit.note_often(Draft { detail, ..draft }, Instant::now());
    Ok(stream::begin(desk, room, caller.deadline, move |desk, feed| async move {
        probe_all(&desk, &feed, targets).await
    }))
}

async fn probe_all(
    desk: &Desk,
    feed: &Feed<admin::ProbeOriginsResponse>,
    targets: Vec<Target>,
) -> Result<(), Refusal> {
    let mut asking: FuturesUnordered<_> = targets
        .iter()
        .map(|target| async { (target.key.clone(), desk.health.prober.probe(target).await) })
        .collect();
    let mut probes = HashMap::new();
    while let Some((key, answered)) = asking.next().await {
        for probe in &answered {
            let (kind, name) = (key.kind.to_wire().into(), key.name.to_string());
            let probe = Some(to_wire(probe));
            feed.send(admin::ProbeOriginsResponse { kind, name, probe }).await?;
        }
        probes.insert(key, answered);
    }
    desk.health.take(probes).await;
    Ok(())
}

/// Those of the pool that are asked about.
fn chosen(desk: &Desk, names: &[String], kind: admin::OriginKind) -> Result<Vec<Target>, Refusal> {
    if names.len() > MAX_NAMES {
        let problem = format!("has {} entries; the most is {MAX_NAMES}", names.len());
        return Err(Refusal::invalid("names", problem));
    }
    let mut targets = Target::all(&desk.health.pools.now());
    targets.retain(|target| match kind {
        admin::OriginKind::Unspecified => true,
        kind => target.key.kind.to_wire() == kind,
    });
    let known: HashSet<&str> = targets.iter().map(|target| target.key.name.as_str()).collect();
    if let Some((n, name)) =
        names.iter().enumerate().find(|(_, name)| !known.contains(name.as_str()))
    {
        let name: String = name.chars().take(80).collect();
        return Err(Refusal::invalid(
            format!("names[{n}]"),
            format!("is {name:?}, which is no origin"),
        ));
    }
    let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
    targets.retain(|target| wanted.is_empty() || wanted.contains(target.key.name.as_str()));
    Ok(targets)
}

/// What is told of each only if it is asked for.
#[derive(Default)]
struct Details {
    strips: HashMap<Key, Vec<Cell>>,
    changes: HashMap<Key, Vec<Change>>,
    are_wanted: bool,
}

impl Details {
    async fn read(desk: &Desk, now_ms: u64) -> Result<Self, Refusal> {
        let mut changes: HashMap<Key, Vec<Change>> = HashMap::new();
        for change in desk.store.origin_changes().await? {
            let of = changes.entry(change.key.clone()).or_default();
            if of.len() < MAX_CHANGES {
                of.push(change);
            }
        }
        Ok(Self { strips: desk.store.strips(now_ms).await?, changes, are_wanted: true })
    }

    fn tell(&self, desk: &Desk, target: &Target, origin: &Origin) -> admin::OriginHealth {
        let ejected = target.origin.ejected;
        let last = origin.probes.first();
        let mut told = admin::OriginHealth {
            kind: origin.key.kind.to_wire().into(),
            origin: Some(target.origin.clone()),
            state: origin.state.to_wire().into(),
            reason: if ejected { &target.origin.reason } else { &origin.reason }.clone(),
            since_ms: if last.is_some() { origin.since_ms } else { 0 },
            score: u32::from(origin.score),
            probed_at_ms: last.map_or(0, |last| last.at_ms),
            p50_us: origin.p50().map_or(0, micros),
            success_percent: origin.success_percent().unwrap_or(0),
            lied_at_ms: origin.record.lied_at_ms,
            ..admin::OriginHealth::default()
        };
        if self.are_wanted {
            let strip = self.strips.get(&origin.key).into_iter().flatten();
            let changes = self.changes.get(&origin.key).into_iter().flatten();
            told.probes = origin.probes.iter().map(to_wire).collect();
            told.strip = strip.map(cell).collect();
            told.changes = changes.map(changed).collect();
            told.regions = regions(desk, &origin.key);
        }
        told
    }
}

fn regions(desk: &Desk, key: &Key) -> Vec<admin::RegionTraffic> {
    if key.kind == Kind::Publisher {
        return Vec::new();
    }
    let seen = desk.health.traffic.lock().of(&key.name, Instant::now());
    let region = |(region, Seen { counts, .. }): (wcdn_proto::Region, Seen)| admin::RegionTraffic {
        region: region.to_string(),
        traffic: Some(counts.to_wire(key.name.as_str())),
        head_p50_ms: counts.head_quantile_ms(0.5),
        head_p95_ms: counts.head_quantile_ms(0.95),
    };
    seen.into_iter().map(region).collect()
}

fn to_wire(probe: &Probe) -> admin::OriginProbe {
    admin::OriginProbe {
        at_ms: probe.at_ms,
        asked: probe.asked.as_str().to_owned(),
        result: probe.result().to_owned(),
        reason: probe.reason().to_owned(),
        took_us: micros(probe.took),
    }
}

fn cell(cell: &Cell) -> admin::HealthCell {
    let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
    admin::HealthCell { from_ms: cell.from_ms, good: count(cell.good), bad: count(cell.bad) }
}

fn changed(change: &Change) -> admin::OriginChange {
    admin::OriginChange {
        at_ms: change.at_ms,
        from: change.from.to_wire().into(),
        to: change.to.to_wire().into(),
        reason: change.reason.clone(),
    }
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
