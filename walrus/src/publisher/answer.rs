//! What a publisher says once it has stored something.

use serde::Deserialize;
use wcdn_proto::{BlobId, QuiltPatchId};

use super::PublisherError;

/// A stored blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It was stored now.
    NewlyCreated {
        /// Its id.
        blob: BlobId,
        /// The Sui object that holds it.
        object: String,
        /// The epoch at whose beginning it expires.
        end_epoch: u32,
        /// What it cost, in FROST (10⁻⁹ WAL).
        cost: u64,
    },
    /// Walrus had it already.
    AlreadyCertified {
        /// Its id.
        blob: BlobId,
        /// The epoch at whose beginning it expires.
        end_epoch: u32,
    },
}

/// A stored quilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredQuilt {
    /// The quilt as a blob.
    pub stored: Stored,
    /// Its files, by identifier.
    pub patches: Vec<StoredPatch>,
}

/// A file of a stored quilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPatch {
    /// Its name.
    pub identifier: String,
    /// Its id.
    pub id: QuiltPatchId,
}

impl Stored {
    /// The id of the blob.
    pub fn blob_id(&self) -> BlobId {
        match self {
            Self::NewlyCreated { blob, .. } | Self::AlreadyCertified { blob, .. } => *blob,
        }
    }
}

impl StoredQuilt {
    /// The id of the quilt.
    pub fn blob_id(&self) -> BlobId {
        self.stored.blob_id()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    #[serde(rename_all = "camelCase")]
    NewlyCreated { blob_object: BlobObject, cost: u64 },
    #[serde(rename_all = "camelCase")]
    AlreadyCertified { blob_id: String, end_epoch: u32 },
    #[serde(rename_all = "camelCase")]
    MarkedInvalid { blob_id: String },
    #[serde(rename_all = "camelCase")]
    Error { failure_phase: String, error_msg: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlobObject {
    id: String,
    blob_id: String,
    storage: Storage,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Storage {
    end_epoch: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QuiltAnswer {
    blob_store_result: Answer,
    stored_quilt_blobs: Vec<PatchAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PatchAnswer {
    identifier: String,
    quilt_patch_id: String,
}

const NO_ID: PublisherError = PublisherError::Answer { why: "an id in it is malformed" };
const NO_JSON: PublisherError = PublisherError::Answer { why: "it is not the JSON expected" };

pub(super) fn stored(answer: &[u8]) -> Result<Stored, PublisherError> {
    interpret(serde_json::from_slice(answer).map_err(|_| NO_JSON)?)
}

pub(super) fn stored_quilt(answer: &[u8]) -> Result<StoredQuilt, PublisherError> {
    let answer: QuiltAnswer = serde_json::from_slice(answer).map_err(|_| NO_JSON)?;
    let patches = answer.stored_quilt_blobs.into_iter().map(|patch| {
        let id = patch.quilt_patch_id.parse().map_err(|_| NO_ID)?;
        Ok(StoredPatch { identifier: patch.identifier, id })
    });
    let patches = patches.collect::<Result<_, PublisherError>>()?;
    Ok(StoredQuilt { stored: interpret(answer.blob_store_result)?, patches })
}

fn interpret(answer: Answer) -> Result<Stored, PublisherError> {
    let id = |text: String| text.parse().map_err(|_| NO_ID);
    match answer {
        Answer::NewlyCreated { blob_object, cost } => Ok(Stored::NewlyCreated {
            blob: id(blob_object.blob_id)?,
            object: blob_object.id,
            end_epoch: blob_object.storage.end_epoch,
            cost,
        }),
        Answer::AlreadyCertified { blob_id, end_epoch } => {
            Ok(Stored::AlreadyCertified { blob: id(blob_id)?, end_epoch })
        }
        Answer::MarkedInvalid { blob_id } => {
            Err(PublisherError::MarkedInvalid { blob: id(blob_id)? })
        }
        // Success by status, failure by content: it has been seen in the publisher's types.
        Answer::Error { failure_phase, error_msg } => {
            Err(PublisherError::Failed { phase: failure_phase, message: error_msg })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk";

    #[test]
    fn every_form_of_the_answer_is_understood() {
        let new = format!(
            r#"{{"newlyCreated":{{"blobObject":{{"id":"0xe9","registeredEpoch":34,"blobId":"{ID}",
            "size":17,"encodingType":"RS2","certifiedEpoch":null,"storage":{{"id":"0x47",
            "startEpoch":34,"endEpoch":35,"storageSize":66034000}},"deletable":false}},
            "resourceOperation":{{"registerFromScratch":{{"encodedLength":66034000,
            "epochsAhead":1}}}},"cost":132300}}}}"#
        );
        let blob = ID.parse().unwrap();
        assert_eq!(
            stored(new.as_bytes()).unwrap(),
            Stored::NewlyCreated { blob, object: "0xe9".into(), end_epoch: 35, cost: 132_300 }
        );
        for witness in [r#""event":{"txDigest":"4X","eventSeq":"0"}"#, r#""object":"0x1""#] {
            let old =
                format!(r#"{{"alreadyCertified":{{"blobId":"{ID}",{witness},"endEpoch":35}}}}"#);
            let expected = Stored::AlreadyCertified { blob, end_epoch: 35 };
            assert_eq!(stored(old.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn a_failure_that_comes_with_200_is_a_failure() {
        let error = r#"{"error":{"blobId":null,"failurePhase":"encode","errorMsg":"too large"}}"#;
        assert!(matches!(
            stored(error.as_bytes()),
            Err(PublisherError::Failed { phase, .. }) if phase == "encode"
        ));
        let invalid = format!(r#"{{"markedInvalid":{{"blobId":"{ID}","event":{{}}}}}}"#);
        assert!(matches!(stored(invalid.as_bytes()), Err(PublisherError::MarkedInvalid { .. })));
    }

    #[test]
    fn a_quilt_names_its_files() {
        let answer = format!(
            r#"{{"blobStoreResult":{{"alreadyCertified":{{"blobId":"{ID}","endEpoch":35}}}},
            "storedQuiltBlobs":[{{"identifier":"another_walrus.jpg",
            "quiltPatchId":"6XUOE-Q5-nAXHRifN6n9nomVDtHZQbGuAkW3PjlBuKoBAQDQAA"}}]}}"#
        );
        let quilt = stored_quilt(answer.as_bytes()).unwrap();
        assert_eq!(quilt.patches[0].identifier, "another_walrus.jpg");
        assert_eq!(quilt.patches[0].id.end(), 208);
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_parsers_panic(answer in "\\PC{0,200}") {
            prop_assert!(stored(answer.as_bytes()).is_err());
            prop_assert!(stored_quilt(answer.as_bytes()).is_err());
        }
    }
}
