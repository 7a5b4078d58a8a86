//! What is pinned: pinning it, waiting for it, and the list.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use wcdn_proto::pb::admin::v1::{
    Change, ListPinsRequest, PinState, PinnedId, WatchPinsRequest, WatchPinsResponse,
};

use super::change::Asked;
use crate::{
    args::{PinArgs, PinWord},
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    ids::InvalidIds,
    output::{Output, complain},
    progress::Progress,
    receipt::{self, Committed},
    text,
};

mod print;

const WHAT: &str = "the list of pins";

/// The most that the service gives at once.
const PAGE: u32 = 1_000;

/// Pages of a list of some state may be short: what is pinned at most is read by far fewer.
const MAX_PAGES: usize = 10_000;

/// How long a control plane that broke off is left alone before it is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// A pin that can be made.
pub(super) struct Pin {
    asked: Asked,
    /// What is watched, how long, if it is to be waited for.
    wait: Option<(Vec<String>, Duration)>,
}

/// What is known of the pins that are waited for.
struct Wait<'a> {
    client: &'a mut Client,
    ids: Vec<String>,
    progress: Progress,
    told: Option<WatchPinsResponse>,
}

/// Why waiting came to an end.
enum Ended {
    Settled,
    Elapsed,
    Interrupted,
}

impl Pin {
    pub(super) fn read(args: &PinArgs) -> Result<Self, InvalidIds> {
        let asked = Asked::pin(args)?;
        let ids = match &asked {
            Asked::Pin(request) if args.wait => Some(request.ids.clone()),
            _ => None,
        };
        Ok(Self { asked, wait: ids.map(|ids| (ids, args.timeout.duration())) })
    }

    /// Makes it, and waits until it is held, if that is wanted.
    pub(super) async fn make(
        self,
        client: &mut Client,
        output: &Output,
    ) -> Result<Outcome, Failure> {
        let change = self.asked.surely(client).await?;
        receipt::announce(output, &change)?;
        let Some((ids, limit)) = self.wait else {
            if output.is_json() {
                output.document(&Committed::from(&change))?;
            }
            return Ok(Outcome::Done);
        };
        let progress = Progress::new(output.is_quiet());
        let mut waiting = Wait { client, ids, progress, told: None };
        let ended = waiting.follow(limit).await;
        waiting.progress.clear();
        print::waited(output, &change, waiting.told.as_ref())?;
        Ok(outcome(ended?, &change, waiting.told.as_ref(), limit))
    }
}

fn outcome(
    ended: Ended,
    change: &Change,
    told: Option<&WatchPinsResponse>,
    limit: Duration,
) -> Outcome {
    let standing = told.map_or_else(|| "nothing is known of them".to_owned(), print::standing);
    match ended {
        Ended::Settled => {
            let is_held = told.is_some_and(|told| told.held == print::total(told));
            if is_held { Outcome::Done } else { Outcome::Incomplete }
        }
        Ended::Elapsed => {
            complain(&format!(
                "the pins of {} are not all held after {limit:?}: {standing}; nodes go on, see `wcdn pins`",
                change.id
            ));
            Outcome::Incomplete
        }
        Ended::Interrupted => {
            complain(&format!(
                "interrupted, but the pins of {} stay: {standing}; see `wcdn pins`",
                change.id
            ));
            Outcome::Interrupted
        }
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

    /// Watches again after the control plane broke off: pins are in its log, and nodes go on.
    async fn until_settled(&mut self) -> Result<(), Failure> {
        loop {
            match self.watch().await {
                Err(failure) if failure.may_heal() => sleep(PAUSE).await,
                ended => return ended,
            }
        }
    }

    /// One stream, to its end: then nothing more is to be expected.
    async fn watch(&mut self) -> Result<(), Failure> {
        let question = WatchPinsRequest { ids: self.ids.clone() };
        let rpc = async |admin: &mut Admin, request| admin.watch_pins(request).await;
        let mut stream = self.client.open(WHAT, question, rpc).await?;
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        seconds.tick().await;
        loop {
            tokio::select! {
                message = self.client.next(WHAT, &mut stream) => match message? {
                    Some(told) => {
                        self.progress.changed(&print::standing(&told));
                        self.told = Some(told);
                    }
                    None => return Ok(()),
                },
                _ = seconds.tick() => {
                    if let Some(told) = &self.told {
                        self.progress.elapsed(&print::standing(told));
                    }
                }
            }
        }
    }
}

/// Lists what is pinned.
pub(super) async fn list(
    client: &mut Client,
    output: &Output,
    state: Option<PinWord>,
) -> Result<Outcome, Failure> {
    let pins = all(client, state).await?;
    print::list(output, &pins)?;
    if pins.is_empty() && !output.is_json() {
        let nothing = state.map(|state| format!("nothing pinned is {}", word(state.into())));
        output.remark(nothing.as_deref().unwrap_or("nothing is pinned"))?;
    }
    Ok(Outcome::Done)
}

async fn all(client: &mut Client, state: Option<PinWord>) -> Result<Vec<PinnedId>, Failure> {
    let state = state.map_or(PinState::Unspecified, PinState::from).into();
    let (mut pins, mut page_token) = (Vec::new(), String::new());
    for _ in 0..MAX_PAGES {
        let question = ListPinsRequest { page_size: PAGE, page_token, state };
        let rpc = async |admin: &mut Admin, request| admin.list_pins(request).await;
        let page = client.call(WHAT, question, rpc).await?;
        pins.extend(page.pins);
        if page.next_page_token.is_empty() {
            return Ok(pins);
        }
        page_token = page.next_page_token;
    }
    client.present(WHAT, None, "no last page")
}

impl From<PinWord> for PinState {
    fn from(word: PinWord) -> Self {
        match word {
            PinWord::Requested => Self::Requested,
            PinWord::Filling => Self::Filling,
            PinWord::Held => Self::Held,
            PinWord::Degraded => Self::Degraded,
            PinWord::OverBudget => Self::OverBudget,
        }
    }
}

fn word(state: PinState) -> &'static str {
    match state {
        PinState::Unspecified => text::NOTHING,
        PinState::Requested => "requested",
        PinState::Filling => "filling",
        PinState::Held => "held",
        PinState::Degraded => "degraded",
        PinState::OverBudget => "over_budget",
    }
}
