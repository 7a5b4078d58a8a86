//! How origins do: listed, shown one by one, and asked anew.

use std::time::Duration;

use wcdn_proto::{
    ByteSize, OriginName,
    pb::admin::v1::{
        GetOriginHealthRequest, GetOriginHealthResponse, OriginHealth, OriginKind, OriginState,
        ProbeOriginsRequest, ProbeOriginsResponse,
    },
};

use super::{
    document::{Document, ProbeDocument, kind, state, weight},
    strip,
};
use crate::{
    args::ListArgs,
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    output::Output,
    table::{Cell, Table, Tone},
    text::{self, NOTHING},
};

const WHAT: &str = "the health of origins";

/// An hour of the strip as one character.
const HOUR: usize = 4;

/// Lists them.
pub(super) async fn list(
    client: &mut Client,
    output: &Output,
    args: &ListArgs,
) -> Result<Outcome, Failure> {
    let kind = match (args.publishers, args.aggregators) {
        (true, _) => OriginKind::Publisher,
        (_, true) => OriginKind::Aggregator,
        _ => OriginKind::Unspecified,
    };
    let question = GetOriginHealthRequest {
        kind: kind.into(),
        healthy: args.healthy,
        best: args.best.unwrap_or(0),
        ..GetOriginHealthRequest::default()
    };
    let told = ask(client, question).await?;
    if output.is_json() {
        output.document(&Document::from(&told))?;
        return Ok(Outcome::Done);
    }
    output.table(&table(&told.origins))?;
    output.remark(&summary(&told))?;
    Ok(Outcome::Done)
}

/// Shows some with all that is known of them.
pub(super) async fn show(
    client: &mut Client,
    output: &Output,
    names: &[OriginName],
) -> Result<Outcome, Failure> {
    let names = names.iter().map(ToString::to_string).collect();
    let told = ask(client, GetOriginHealthRequest { names, ..GetOriginHealthRequest::default() });
    let told = told.await?;
    if output.is_json() {
        output.document(&Document::from(&told))?;
        return Ok(Outcome::Done);
    }
    for health in &told.origins {
        one(output, health)?;
    }
    Ok(Outcome::Done)
}

/// Asks them now.
pub(super) async fn probe(
    client: &mut Client,
    output: &Output,
    names: &[OriginName],
) -> Result<Outcome, Failure> {
    const WHAT: &str = "the probe of origins";
    let names = names.iter().map(ToString::to_string).collect();
    let question = ProbeOriginsRequest { names, ..ProbeOriginsRequest::default() };
    let rpc = async |admin: &mut Admin, request| admin.probe_origins(request).await;
    let mut stream = client.open(WHAT, question, rpc).await?;
    let (mut good, mut all) = (0_u64, 0_u64);
    while let Some(ProbeOriginsResponse { name, kind, probe }) =
        client.next(WHAT, &mut stream).await?
    {
        let probe = client.present(WHAT, probe, "no probe")?;
        let kind = OriginKind::try_from(kind).unwrap_or_default();
        good += u64::from(probe.result == "ok");
        all += 1;
        if output.is_json() {
            output.document(&ProbeDocument::named(&name, kind, &probe))?;
        } else {
            let (asked, result, took) = (&probe.asked, &probe.result, text::after(probe.took_us));
            let reason =
                if probe.reason.is_empty() { String::new() } else { format!(": {}", probe.reason) };
            output.line(&text::plain(&format!("{name}  {asked}  {result}  {took}{reason}")))?;
        }
    }
    if !output.is_json() {
        output.remark(&format!("{good} of {} as they should", text::count(all, "answer")))?;
    }
    Ok(Outcome::Done)
}

async fn ask(
    client: &mut Client,
    question: GetOriginHealthRequest,
) -> Result<GetOriginHealthResponse, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.get_origin_health(request).await;
    client.call(WHAT, question, rpc).await
}

fn table(origins: &[OriginHealth]) -> Table<9> {
    let mut table =
        Table::new(["NAME", "KIND", "STATE", "SCORE", "P50", "OK", "24 HOURS", "URL", "REASON"]);
    for health in origins {
        let Some(origin) = &health.origin else { continue };
        let known = |text: String| if health.probed_at_ms > 0 { text } else { NOTHING.to_owned() };
        table.row([
            (&origin.name).into(),
            kind(health.kind()).into(),
            state_cell(health),
            known(health.score.to_string()).into(),
            p50(health).into(),
            known(format!("{} %", health.success_percent)).into(),
            strip::draw(&health.strip, HOUR).into(),
            (&origin.url).into(),
            (&health.reason).into(),
        ]);
    }
    table
}

fn state_cell(health: &OriginHealth) -> Cell {
    let tone = match health.state() {
        OriginState::Healthy => Tone::Good,
        OriginState::Degraded => Tone::Doubtful,
        OriginState::Unhealthy | OriginState::Ejected => Tone::Bad,
        OriginState::Unspecified => Tone::Plain,
    };
    Cell::toned(state(health.state()), tone)
}

fn p50(health: &OriginHealth) -> String {
    match health.p50_us {
        0 => NOTHING.to_owned(),
        micros => text::after(micros),
    }
}

fn summary(told: &GetOriginHealthResponse) -> String {
    let is = |state| told.origins.iter().filter(|health| health.state() == state).count();
    let all = text::count(told.origins.len() as u64, "origin");
    let healthy = is(OriginState::Healthy);
    let ejected = match is(OriginState::Ejected) {
        0 => String::new(),
        count => format!(", {count} ejected"),
    };
    let revision = match told.revision {
        0 => "none were set: these are of the control plane's configuration".to_owned(),
        revision => format!("revision {revision}"),
    };
    format!("{healthy} of {all} healthy{ejected}; {revision}")
}

fn one(output: &Output, health: &OriginHealth) -> Result<(), Failure> {
    let Some(origin) = &health.origin else { return Ok(()) };
    let since = text::time(health.since_ms).filter(|_| health.since_ms > 0);
    let reason =
        if health.reason.is_empty() { String::new() } else { format!(": {}", health.reason) };
    let title = format!("{}  {}  {}", origin.name, kind(health.kind()), origin.url);
    output.line(&text::plain(&title))?;
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    output.line(&text::plain(&format!("{}{since}{reason}", state(health.state()))))?;
    let trusted = if origin.trusted { ", trusted" } else { "" };
    let operator = if origin.operator.is_empty() {
        String::new()
    } else {
        format!(", run by {}", origin.operator)
    };
    output.line(&text::plain(&format!(
        "score {}, p50 {}, {} % ok, weight {}{trusted}{operator}",
        health.score,
        p50(health),
        health.success_percent,
        weight(origin),
    )))?;
    output.line(&strip::draw(&health.strip, 1))?;
    output.table(&probes(health))?;
    output.table(&regions(health))?;
    output.table(&changes(health))?;
    Ok(())
}

fn probes(health: &OriginHealth) -> Table<5> {
    let mut table = Table::new(["AT", "ASKED", "RESULT", "TOOK", "REASON"]);
    for probe in &health.probes {
        let tone = match probe.result.as_str() {
            "ok" => Tone::Good,
            "unknown" | "skipped" => Tone::Plain,
            _ => Tone::Bad,
        };
        let at = text::time(probe.at_ms);
        table.row([
            at.as_deref().unwrap_or(NOTHING).into(),
            (&probe.asked).into(),
            Cell::toned(&probe.result, tone),
            text::after(probe.took_us).into(),
            (&probe.reason).into(),
        ]);
    }
    table
}

fn regions(health: &OriginHealth) -> Table<6> {
    let mut table = Table::new(["REGION", "REQUESTS", "P50", "P95", "BYTES", "FAILED"]);
    for region in &health.regions {
        let traffic = region.traffic.clone().unwrap_or_default();
        let kinds = [
            ("unreachable", traffic.unreachable),
            ("timed out", traffic.timed_out),
            ("error", traffic.refused),
            ("throttled", traffic.throttled),
            ("broke off", traffic.broken),
            ("too slow", traffic.slow),
            ("lied", traffic.lies),
        ];
        let failed = kinds.iter().filter(|(_, count)| *count > 0);
        let failed: Vec<_> = failed.map(|(kind, count)| format!("{count} {kind}")).collect();
        let ms = |ms: u64| match ms {
            0 => NOTHING.to_owned(),
            ms => format!("≤ {:?}", Duration::from_millis(ms)),
        };
        table.row([
            (&region.region).into(),
            traffic.requests.to_string().into(),
            ms(region.head_p50_ms).into(),
            ms(region.head_p95_ms).into(),
            ByteSize::new(traffic.bytes).to_string().into(),
            failed.join(", ").into(),
        ]);
    }
    table
}

fn changes(health: &OriginHealth) -> Table<3> {
    let mut table = Table::new(["CHANGED AT", "TO", "WHY"]);
    for change in &health.changes {
        let at = text::time(change.at_ms);
        table.row([
            at.as_deref().unwrap_or(NOTHING).into(),
            state(change.to()).into(),
            (&change.reason).into(),
        ]);
    }
    table
}
