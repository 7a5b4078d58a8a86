//! A small aggregator.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::TaskTracker;
use wcdn_proto::{BlobId, ObjectId};
use wcdn_walrus::{Encoding, blob_id};

/// What it has, and how often it was asked for it.
#[derive(Clone)]
pub struct Origin {
    pub url: String,
    store: Arc<Mutex<Store>>,
}

#[derive(Default)]
struct Store {
    blobs: HashMap<String, Bytes>,
    /// Object ids, with the blob that each holds.
    objects: HashMap<String, BlobId>,
    asked: usize,
}

/// Of a small network, so that ids are quick to compute, and yet large blobs fit.
pub fn encoding() -> Encoding {
    Encoding::new(100).unwrap()
}

impl Origin {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (origin, tasks) = (Self { url, store: Arc::default() }, TaskTracker::new());
        let (store, answering) = (Arc::clone(&origin.store), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answering.spawn(answer(stream, Arc::clone(&store)));
            }
        });
        origin
    }

    pub fn store(&self, body: Bytes) -> BlobId {
        let id = blob_id(encoding(), std::slice::from_ref(&body)).unwrap();
        self.store.lock().blobs.insert(id.to_string(), body);
        id
    }

    pub fn hold(&self, object: ObjectId, blob: BlobId) {
        self.store.lock().objects.insert(object.to_string(), blob);
    }

    /// Requests so far.
    pub fn asked(&self) -> usize {
        self.store.lock().asked
    }
}

async fn answer(mut stream: TcpStream, store: Arc<Mutex<Store>>) {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(got) => request.extend_from_slice(&piece[..got]),
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (id, body) = {
        let mut store = store.lock();
        store.asked += 1;
        let name = path.trim_start_matches("/v1/blobs/");
        let id = match name.strip_prefix("by-object-id/") {
            Some(object) => store.objects.get(object).map(BlobId::to_string).unwrap_or_default(),
            None => name.to_owned(),
        };
        let body = store.blobs.get(&id).cloned();
        (id, body)
    };
    let Some(body) = body else {
        let head = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let _is_sent = stream.write_all(head.as_bytes()).await.is_ok();
        return;
    };
    let (status, range) = ranged(&request, body.len());
    let head = format!(
        "HTTP/1.1 {status}\r\netag: \"{id}\"\r\ncontent-length: {}\r\ncontent-range: bytes {}-{}/{}\r\n\
         connection: close\r\n\r\n",
        range.len(),
        range.start,
        range.end - 1,
        body.len(),
    );
    let _is_sent = stream.write_all(head.as_bytes()).await.is_ok()
        && stream.write_all(&body[range]).await.is_ok();
}

fn ranged(request: &str, length: usize) -> (&'static str, std::ops::Range<usize>) {
    let wanted = request.lines().find_map(|line| line.strip_prefix("range: bytes="));
    let Some((first, last)) = wanted.and_then(|range| range.split_once('-')) else {
        return ("200 OK", 0..length);
    };
    let last: usize = last.parse().unwrap_or(length - 1);
    ("206 Partial Content", first.parse().unwrap()..(last + 1).min(length))
}
