//! Whose fault it is that a body was not the blob.

use wcdn_proto::BlobId;

use super::{assemble::Source, course::Course, task::Task};
use crate::cache::entry::Entry;

/// A part of a body that several together gave and that was not the blob: whose part
/// differs from the truth is known once there is a truth to compare with.
pub(super) struct Suspect(Source);

impl Task {
    /// Blames the one who gave the wrong bytes; or, if there were several, has each origin asked again
    /// for the whole.
    pub(super) fn accuse(
        &self,
        id: &BlobId,
        course: &mut Course,
        suspects: &mut Vec<Suspect>,
        sources: Vec<Source>,
    ) {
        if let [source] = &sources[..] {
            source.giver.lied(id);
            source.giver.origin().inspect(|origin| course.lied(origin));
            return;
        }
        if let Some((_, broke_off)) = sources.split_last() {
            broke_off.iter().for_each(|source| source.giver.suspected());
        }
        // The last one did not break off, so it is the likeliest to give the whole.
        let again = sources.iter().rev().filter_map(|source| source.giver.origin());
        course.alone(again.cloned());
        suspects.extend(sources.into_iter().map(Suspect));
    }
}

/// Compares the parts of a body that was wrong with the true one.
pub(super) fn acquit_or_accuse(id: &BlobId, truth: &Entry, suspects: Vec<Suspect>) {
    if !truth.record().level.is_verified() {
        return;
    }
    for Suspect(source) in suspects {
        let mut hasher = blake3::Hasher::new();
        let mut range = source.range.clone();
        while let Some(piece) = truth.piece(&range) {
            hasher.update(&piece);
            range.start += piece.len() as u64;
        }
        if hasher.finalize() != source.digest() {
            source.giver.lied(id);
        }
    }
}
