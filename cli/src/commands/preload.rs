//! Blobs that are fetched before anybody asks.

use std::{io, time::Duration};

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use wcdn_proto::{
    ByteSize,
    pb::admin::v1::{
        PreloadFailure, PreloadJob, PreloadRequest, PreloadedRegion, WatchPreloadRequest,
    },
};

use crate::{
    args::PreloadArgs,
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    ids::{self, InvalidIds},
    output::{Output, complain},
    progress::Progress,
    table::{Cell, Table, Tone},
    text,
};

const WHAT: &str = "the preload";

/// As the service limits it.
const MAX_PRELOADED: usize = 10_000;

/// How long a control plane that broke off is left alone before it is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// A preload to begin, or to look at.
pub(super) struct Preload {
    asked: Asked,
    wait: Option<Duration>,
}

enum Asked {
    Begin(PreloadRequest),
    Look(String),
}

/// Why waiting came to an end.
enum Ended {
    Settled,
    Elapsed,
    Interrupted,
}

/// What is known of a job that is waited for.
struct Wait<'a> {
    client: &'a mut Client,
    job: PreloadJob,
    progress: Progress,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    job: JobDocument<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct JobDocument<'a> {
    id: &'a str,
    begun_at: Option<String>,
    regions: Vec<RegionDocument<'a>>,
    settled: bool,
    failures: Vec<FailureDocument<'a>>,
}

#[derive(Debug, Serialize)]
struct RegionDocument<'a> {
    region: &'a str,
    wanted: u32,
    done: u32,
    failed: u32,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct FailureDocument<'a> {
    id: &'a str,
    region: &'a str,
    reason: &'a str,
}

impl Preload {
    pub(super) fn read(args: &PreloadArgs) -> Result<Self, InvalidIds> {
        let asked = match &args.job {
            Some(job) => Asked::Look(job.clone()),
            None => {
                let ids = ids::read(&args.ids, MAX_PRELOADED)?;
                let ids = ids.iter().map(ToString::to_string).collect();
                let regions = args.regions.iter().map(ToString::to_string).collect();
                Asked::Begin(PreloadRequest { ids, regions })
            }
        };
        Ok(Self { asked, wait: args.wait.then(|| args.timeout.duration()) })
    }

    /// Begins it, or looks at it, and waits for its end, if that is wanted.
    pub(super) async fn make(
        self,
        client: &mut Client,
        output: &Output,
    ) -> Result<Outcome, Failure> {
        let job = match self.asked {
            Asked::Begin(request) => {
                let job = begin(client, request).await?;
                announce(output, &job)?;
                if self.wait.is_none() {
                    if output.is_json() {
                        output.document(&Document::from(&job))?;
                    }
                    return Ok(Outcome::Done);
                }
                job
            }
            Asked::Look(id) => PreloadJob { id, ..PreloadJob::default() },
        };
        let progress = Progress::new(output.is_quiet());
        let mut waiting = Wait { client, job, progress };
        let ended = match self.wait {
            Some(limit) => waiting.follow(limit).await,
            None => waiting.look().await.map(|()| Ended::Settled),
        };
        waiting.progress.clear();
        if ended.is_ok() {
            print(output, &waiting.job)?;
        }
        Ok(outcome(&ended?, &waiting.job))
    }
}

async fn begin(client: &mut Client, request: PreloadRequest) -> Result<PreloadJob, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.preload(request).await;
    let answer = client.call("preload", request, rpc).await?;
    client.present("preload", answer.job, "no job")
}

fn outcome(ended: &Ended, job: &PreloadJob) -> Outcome {
    let told = match ended {
        Ended::Settled => {
            let is_done = job.settled && job.regions.iter().all(|region| region.failed == 0);
            return if is_done { Outcome::Done } else { Outcome::Incomplete };
        }
        Ended::Elapsed => "is not done yet",
        Ended::Interrupted => "was not waited for to its end",
    };
    let (id, standing) = (&job.id, standing(job));
    complain(&format!("{id} {told}, and goes on: {standing}; see it by: wcdn preload --job {id}"));
    match ended {
        Ended::Interrupted => Outcome::Interrupted,
        _ => Outcome::Incomplete,
    }
}

impl Wait<'_> {
    async fn follow(&mut self, limit: Duration) -> Result<Ended, Failure> {
        tokio::select! {
            biased;
            signal = tokio::signal::ctrl_c() => Ok(signal.map(|()| Ended::Interrupted)?),
            settled = timeout(limit, self.until_settled()) => match settled {
                Ok(settled) => settled.map(|()| Ended::Settled),
                Err(_elapsed) => Ok(Ended::Elapsed),
            }
        }
    }

    /// Watches again after the connection was lost. A control plane that stopped has forgotten it, and
    /// says so.
    async fn until_settled(&mut self) -> Result<(), Failure> {
        loop {
            match self.watch(false).await {
                Err(failure) if failure.may_heal() => sleep(PAUSE).await,
                ended => return ended,
            }
        }
    }

    /// The job as it is now.
    async fn look(&mut self) -> Result<(), Failure> {
        self.watch(true).await
    }

    /// One stream, to its end or to its first message.
    async fn watch(&mut self, once: bool) -> Result<(), Failure> {
        let question = WatchPreloadRequest { job_id: self.job.id.clone() };
        let rpc = async |admin: &mut Admin, request| admin.watch_preload(request).await;
        let mut stream = self.client.open(WHAT, question, rpc).await?;
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        seconds.tick().await;
        loop {
            tokio::select! {
                message = self.client.next(WHAT, &mut stream) => match message? {
                    Some(message) => {
                        self.job = self.client.present(WHAT, message.job, "no job")?;
                        self.progress.changed(&line(&self.job));
                        if once {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
                _ = seconds.tick() => self.progress.elapsed(&line(&self.job)),
            }
        }
    }
}

fn line(job: &PreloadJob) -> String {
    format!("{}: {}", job.id, standing(job))
}

/// How many are there, in all regions together.
fn standing(job: &PreloadJob) -> String {
    let sum = |count: fn(&PreloadedRegion) -> u32| {
        job.regions.iter().map(|region| u64::from(count(region))).sum::<u64>()
    };
    let (done, wanted) = (sum(|region| region.done), sum(|region| region.wanted));
    let failed = match sum(|region| region.failed) {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let regions = text::count(job.regions.len() as u64, "region");
    format!("{done} of {wanted} blobs are there in {regions}{failed}")
}

fn announce(output: &Output, job: &PreloadJob) -> io::Result<()> {
    if output.is_json() {
        return Ok(());
    }
    if output.is_quiet() {
        return output.line(&text::plain(&job.id));
    }
    let blobs = job.regions.first().map_or(0, |region| region.wanted);
    let (blobs, regions) =
        (text::count(blobs.into(), "blob"), text::count(job.regions.len() as u64, "region"));
    output.line(&text::plain(&format!("preload of {blobs} in {regions} is begun as {}", job.id)))
}

fn print(output: &Output, job: &PreloadJob) -> io::Result<()> {
    if output.is_json() {
        return output.document(&Document::from(job));
    }
    let mut table = Table::new(["REGION", "WANTED", "DONE", "FAILED", "BYTES"]);
    for region in &job.regions {
        let tone = if region.failed > 0 { Tone::Bad } else { Tone::Plain };
        table.row([
            (&region.region).into(),
            region.wanted.to_string().into(),
            region.done.to_string().into(),
            Cell::toned(&region.failed.to_string(), tone),
            ByteSize::new(region.bytes).to_string().into(),
        ]);
    }
    output.table(&table)?;
    let mut failures = Table::new(["ID", "REGION", "REASON"]);
    for PreloadFailure { id, region, reason } in &job.failures {
        failures.row([id.into(), region.into(), reason.into()]);
    }
    output.table(&failures)?;
    output.remark(&standing(job))
}

impl<'a> From<&'a PreloadJob> for Document<'a> {
    fn from(job: &'a PreloadJob) -> Self {
        let region = |region: &'a PreloadedRegion| RegionDocument {
            region: &region.region,
            wanted: region.wanted,
            done: region.done,
            failed: region.failed,
            bytes: region.bytes,
        };
        let failure = |failure: &'a PreloadFailure| FailureDocument {
            id: &failure.id,
            region: &failure.region,
            reason: &failure.reason,
        };
        Self {
            job: JobDocument {
                id: &job.id,
                begun_at: text::time(job.begun_at_ms),
                regions: job.regions.iter().map(region).collect(),
                settled: job.settled,
                failures: job.failures.iter().map(failure).collect(),
            },
        }
    }
}
