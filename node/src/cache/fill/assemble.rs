//! A body put together from as many peers and origins as it takes.

use std::{
    ops::{Range, RangeInclusive},
    sync::Arc,
};

use super::{
    course::Course,
    draw::Growing,
    error::FillError,
    giver::{Download, GiveError, Giver, Opened},
    task::Task,
    through::{Route, Wanted},
};
use crate::{
    cache::budget::Reservation,
    origin::{Origin, attempt::AttemptError},
    peer::{attestation::Attestation, error::PeerError},
};

/// An origin that gave this much before it failed did more good than harm.
const GOOD_PIECE: u64 = 64 << 10;

/// A complete body, whose slices are in the fill's state.
pub(super) struct Assembly {
    /// Who gave which part.
    pub(super) sources: Vec<Source>,
    pub(super) digest: blake3::Hash,
    pub(super) held: Reservation,
    /// Bytes of the whole blob.
    pub(super) total: u64,
    /// What a peer vouches for that gave the end of it.
    pub(super) attested: Option<Attestation>,
}

/// The part of a body that one gave.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) giver: Giver,
    /// Where the part lies in the body.
    pub(super) range: Range<u64>,
    pub(super) hasher: blake3::Hasher,
}

impl Source {
    /// The digest of the part.
    pub(super) fn digest(&self) -> blake3::Hash {
        self.hasher.finalize()
    }
}

/// Why there is no body.
pub(super) enum Stop {
    /// It is too large to hold.
    Large { total: u64 },
    /// It cannot be had.
    Failed(FillError),
}

impl From<FillError> for Stop {
    fn from(error: FillError) -> Self {
        Self::Failed(error)
    }
}

fn got(growing: &Option<Growing>) -> u64 {
    growing.as_ref().map_or(0, |growing| growing.got)
}

impl Task {
    /// Gets the body, continuing at the byte reached when whoever gives it fails; or, if it must come
    /// from one origin alone, beginning again.
    pub(super) async fn assemble(
        &self,
        route: &mut Route,
        course: &mut Course,
    ) -> Result<Assembly, Stop> {
        let mut growing: Option<Growing> = None;
        loop {
            let is_begun = growing.is_some();
            if course.is_alone() && growing.take().is_some() {
                self.restart(course)?;
            }
            let before = got(&growing);
            let wanted = Wanted { got: before, is_begun, range: self.wanted(&growing) };
            let (giver, drawn) = match self.open_next(route, course, wanted).await? {
                Ok(download) => {
                    course.has_length(download.total());
                    (download.giver(), self.draw(download, &mut growing).await)
                }
                Err((giver, error)) => (giver, Err(Trouble::Passed(error))),
            };
            if let Err(trouble) = drawn {
                let progress = got(&growing).saturating_sub(before);
                self.note_trouble(trouble, &giver, course, &growing, progress)?;
            }
            if let Some(whole) = growing.take_if(|growing| growing.got == growing.length) {
                let Growing { sources, hasher, held, total, attested, .. } = whole;
                return Ok(Assembly { sources, digest: hasher.finalize(), held, total, attested });
            }
        }
    }

    /// Opens a download at the next origin of the course.
    pub(super) async fn open_origin(
        &self,
        course: &mut Course,
        wanted: Wanted,
    ) -> Result<Opened, Stop> {
        self.charge.spend();
        self.asked.get_or_init(|| self.shared.cache.log().positions.known());
        let permit = match (course.next(), course.undisputed_length()) {
            (Ok(permit), _) => permit,
            // The others cannot be asked: whoever is left says that it is large.
            (Err(FillError::Exhausted { .. }), Some(total)) if !wanted.is_begun => {
                return Err(Stop::Large { total });
            }
            (Err(error), _) => return Err(error.into()),
        };
        let opened = self.open(permit, course, wanted.range).await;
        Ok(opened
            .map(Download::Origin)
            .map_err(|(origin, error)| (Giver::Origin(origin), GiveError::Origin(error))))
    }

    /// Notes what somebody did wrong; stops when no other could do better.
    fn note_trouble(
        &self,
        trouble: Trouble,
        giver: &Giver,
        course: &mut Course,
        growing: &Option<Growing>,
        progress: u64,
    ) -> Result<(), Stop> {
        match (trouble, giver) {
            (Trouble::Stop(stop), _) => Err(stop),
            (Trouble::Large { total }, Giver::Origin(origin)) => {
                match course.claims_large(origin, total) {
                    true => Err(Stop::Large { total }),
                    false => Ok(()),
                }
            }
            // It has more room than this node.
            (Trouble::Large { total }, Giver::Peer(_)) => Err(Stop::Large { total }),
            (Trouble::Passed(GiveError::Origin(error)), Giver::Origin(origin)) => {
                self.note_attempt(&error, origin, course, growing, progress);
                Ok(())
            }
            (Trouble::Broke(error), Giver::Peer(peer)) => {
                tracing::debug!(peer = %peer.node(), blob = %self.fill.key.id, %error, "passed over");
                peer.failed(&error);
                if progress > 0 {
                    self.shared.metrics.peer.resumed.inc();
                }
                Ok(())
            }
            // What befell the head of a peer's answer was noted there.
            _ => Ok(()),
        }
    }

    fn note_attempt(
        &self,
        error: &AttemptError,
        origin: &Arc<Origin>,
        course: &mut Course,
        growing: &Option<Growing>,
        progress: u64,
    ) {
        if progress >= GOOD_PIECE {
            course.broke_off(origin, error);
        } else {
            course.failed(origin, error);
        }
        let tried = course.tried().clone();
        self.fill.state.send_modify(|state| state.tried = tried);
        if error.contradicts_beginning() && !self.streams() {
            // Whoever began may have told a wrong length; who does not go on may be right.
            let began = growing.iter().flat_map(|growing| &growing.sources);
            let began = began.filter_map(|source| source.giver.origin());
            course.alone(began.chain([origin]).cloned());
        }
    }

    /// The part of the blob to ask for next; `None` for all of it.
    fn wanted(&self, growing: &Option<Growing>) -> Option<RangeInclusive<u64>> {
        match growing {
            Some(growing) => Some(growing.base + growing.got..=growing.base + growing.length - 1),
            None => self.slice().map(|slice| slice.start..=slice.end - 1),
        }
    }
}

/// What ends the reading from one giver.
pub(super) enum Trouble {
    /// It gave nothing: another may.
    Passed(GiveError),
    /// A peer is at its end; another, or an origin, may go on.
    Broke(PeerError),
    /// This node is asked for the blob, so that origins go on.
    Alone,
    /// It says that the blob is too large to hold.
    Large { total: u64 },
    /// A peer says so by the word of one origin alone.
    Hearsay,
    /// The fill is at its end.
    Stop(Stop),
}

impl Trouble {
    /// The same, where it is the giver of `download` that says a length.
    pub(super) fn of(self, download: &Download) -> Self {
        let Download::Peer(peer) = download else { return self };
        match self {
            Self::Passed(_) => Self::Broke(PeerError::Length),
            Self::Large { .. } if !peer.holds() => Self::Hearsay,
            trouble => trouble,
        }
    }
}

impl From<AttemptError> for Trouble {
    fn from(error: AttemptError) -> Self {
        Self::Passed(GiveError::Origin(error))
    }
}

impl From<PeerError> for Trouble {
    fn from(error: PeerError) -> Self {
        Self::Broke(error)
    }
}

impl From<FillError> for Trouble {
    fn from(error: FillError) -> Self {
        Self::Stop(Stop::Failed(error))
    }
}
