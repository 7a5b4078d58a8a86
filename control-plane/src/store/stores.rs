//! Fresh stores for tests, on both databases.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use tempfile::TempDir;
use tokio::sync::OnceCell;
use wcdn_postgres::Postgres;

use super::{Place, Store};
use crate::config;

/// One server for all tests of this program; a shell ends it when the program has.
static SERVER: OnceCell<Postgres> = OnceCell::const_new();

/// The databases that were made there.
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A place for a store, and a folder beside it.
pub(crate) struct Fresh {
    pub(crate) folder: TempDir,
    pub(crate) place: Place,
}

/// What a test needs a store on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// Runs a test of this name, which takes an [`On`], on both databases.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            #[tokio::test]
            async fn sqlite() {
                Box::pin(super::$test($crate::store::stores::On::Sqlite)).await;
            }

            #[tokio::test]
            async fn postgres() {
                Box::pin(super::$test($crate::store::stores::On::Postgres)).await;
            }
        }
    )*};
}
pub(crate) use on_both;

impl On {
    /// A place where no store is yet.
    pub(crate) async fn fresh(self) -> Fresh {
        self.fresh_with(|_| {}).await
    }

    /// The same, with something else about it.
    pub(crate) async fn fresh_with(self, change: impl FnOnce(&mut config::Store)) -> Fresh {
        let folder = tempfile::tempdir().unwrap();
        let mut config = match self {
            Self::Sqlite => {
                config::Store { path: folder.path().join("a.db"), ..Default::default() }
            }
            Self::Postgres => {
                let url = database().await.parse().unwrap();
                config::Store { url: Some(url), max_connections: 6, ..Default::default() }
            }
        };
        change(&mut config);
        Fresh { folder, place: Place::of(&config).unwrap() }
    }

    /// A fresh store.
    pub(crate) async fn store(self) -> (Fresh, Store) {
        let fresh = self.fresh().await;
        let store = fresh.open().await;
        (fresh, store)
    }
}

impl Fresh {
    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.place).await.unwrap()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.place.file().unwrap().to_owned()
    }
}

/// The URL of an empty database.
async fn database() -> String {
    let server = SERVER.get_or_init(|| async {
        let mut server = Postgres::temporary().await.unwrap();
        let settings = [("fsync", "off"), ("full_page_writes", "off"), ("max_connections", "300")];
        server.start(&settings).await.unwrap();
        server
    });
    let (server, name) = (server.await, format!("t{}", DATABASES.fetch_add(1, Relaxed)));
    server.create_database(&name).await.unwrap();
    server.url(&name)
}
