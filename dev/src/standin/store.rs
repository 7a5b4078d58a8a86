//! The blobs of the stand-in.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::{fs, time::Instant};
use wcdn_walrus::{BlobId, BlobTooLarge, Encoding, ObjectId, blob_id};

/// Blobs by id, in memory and, if there is a folder, in files named by their ids.
#[derive(Debug)]
pub(super) struct Store {
    encoding: Encoding,
    dir: Option<PathBuf>,
    visible_after: Duration,
    blobs: RwLock<HashMap<BlobId, Blob>>,
}

#[derive(Debug, Clone)]
struct Blob {
    bytes: Bytes,
    visible_at: Instant,
}

/// What came of storing.
pub(super) struct Kept {
    pub(super) id: BlobId,
    pub(super) object: ObjectId,
    /// Whether it was there before.
    pub(super) is_old: bool,
}

/// Why something was not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error(transparent)]
    TooLarge(#[from] BlobTooLarge),
    #[error("cannot write the blob")]
    Disk(#[from] io::Error),
}

impl Store {
    pub(super) async fn open(
        encoding: Encoding,
        dir: Option<PathBuf>,
        visible_after: Duration,
    ) -> io::Result<Self> {
        let mut blobs = HashMap::new();
        if let Some(dir) = &dir {
            fs::create_dir_all(dir).await?;
            let mut files = fs::read_dir(dir).await?;
            while let Some(file) = files.next_entry().await? {
                let name = file.file_name();
                // What a write left half done has another name.
                if let Some(id) = name.to_str().and_then(|name| name.parse().ok()) {
                    let bytes = fs::read(file.path()).await?.into();
                    blobs.insert(id, Blob { bytes, visible_at: Instant::now() });
                }
            }
        }
        Ok(Self { encoding, dir, visible_after, blobs: RwLock::new(blobs) })
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// A blob that aggregators see.
    pub(super) fn get(&self, id: &BlobId) -> Option<Bytes> {
        let blobs = self.blobs.read();
        let blob = blobs.get(id).filter(|blob| blob.visible_at <= Instant::now())?;
        Some(blob.bytes.clone())
    }

    /// The blob that an object holds.
    pub(super) fn of_object(&self, object: &ObjectId) -> Option<BlobId> {
        let id = BlobId::from_bytes(flipped(object.as_bytes()));
        self.blobs.read().contains_key(&id).then_some(id)
    }

    /// Stores a blob under the id that follows from its bytes.
    pub(super) async fn put(&self, bytes: Bytes) -> Result<Kept, KeepError> {
        let (encoding, input) = (self.encoding, bytes.clone());
        let id = tokio::task::spawn_blocking(move || blob_id(encoding, &[input]))
            .await
            .map_err(io::Error::other)??;
        let object = object_of(&id);
        if self.blobs.read().contains_key(&id) {
            return Ok(Kept { id, object, is_old: true });
        }
        if let Some(dir) = &self.dir {
            write(dir, &id, &bytes).await?;
        }
        let visible_at = Instant::now() + self.visible_after;
        self.blobs.write().insert(id, Blob { bytes, visible_at });
        Ok(Kept { id, object, is_old: false })
    }
}

/// The object that holds a blob: an address of its own, always the same.
fn object_of(id: &BlobId) -> ObjectId {
    ObjectId::from_bytes(flipped(id.as_bytes()))
}

fn flipped(bytes: &[u8; 32]) -> [u8; 32] {
    bytes.map(|byte| !byte)
}

/// Writes beside the name and then moves there, so that a name always has the whole blob.
async fn write(dir: &Path, id: &BlobId, bytes: &Bytes) -> io::Result<()> {
    let half = dir.join(format!(".{id}.{:016x}", rand::random::<u64>()));
    fs::write(&half, bytes).await?;
    fs::rename(&half, dir.join(id.to_string())).await
}
