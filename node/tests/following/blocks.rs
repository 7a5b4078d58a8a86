//! What is blocked is withheld at once, by every path.

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use wcdn_proto::{Change, ContentId};
use wcdn_walrus::quilt::{NewPatch, build};

use super::{
    Scene, eventually,
    origin::encoding,
    viewer::{self, DEADLINE},
};

fn quilt() -> (Bytes, wcdn_walrus::quilt::QuiltIndex) {
    let file = |name: &str| NewPatch {
        identifier: name.to_owned(),
        tags: Default::default(),
        data: Bytes::from(name.repeat(50)),
    };
    let built = build(encoding(), vec![file("one"), file("two")]).unwrap();
    (built.blob, built.index)
}

#[tokio::test]
async fn a_blocked_blob_is_451_by_every_path_and_method_until_it_is_unblocked() {
    let scene = Scene::new().await;
    let id = scene.origin.store(Bytes::from(vec![7; 10_000]));
    scene.origin.hold("0x2a".parse().unwrap(), id);
    let object =
        format!("/v1/blobs/by-object-id/{}", "0x2a".parse::<wcdn_proto::ObjectId>().unwrap());
    let node = scene.ready().await;
    let paths = [
        (format!("/cdn/{id}"), 200),
        (format!("/v1/blobs/{id}"), 200),
        (format!("/v1/blobs/{id}/byte-range?start=1&length=5"), 200),
        (object, 200),
    ];
    for (path, status) in &paths {
        assert_eq!(viewer::get(node.edge(), path).await.status, *status, "{path}");
    }
    let asked = scene.origin.asked();
    node.block(11, ContentId::Blob(id)).await;
    let headers =
        ["", "range: bytes=0-9\r\n", &format!("if-none-match: \"{id}\"\r\n")].map(str::to_owned);
    for (path, _) in &paths {
        for method in ["GET", "HEAD"] {
            for more in &headers {
                let reply = viewer::request(node.edge(), method, path, more).await;
                assert_eq!(reply.status, 451, "{method} {path} {more}");
                assert_eq!(reply.header("cache-control"), "no-store");
            }
        }
    }
    let reply = viewer::get(node.edge(), &paths[0].0).await;
    assert!(String::from_utf8(reply.body).unwrap().contains("FORBIDDEN_BLOB"));
    assert_eq!(scene.origin.asked(), asked, "no origin is asked for what is withheld");
    node.apply(12, Change::Unblock(vec![ContentId::Blob(id)])).await;
    assert_eq!(viewer::get(node.edge(), &paths[0].0).await.status, 200);
}

#[tokio::test]
async fn a_blocked_quilt_withholds_its_files_and_a_blocked_file_only_itself() {
    let scene = Scene::new().await;
    let (blob, index) = quilt();
    let id = scene.origin.store(blob);
    let (one, two) = (index.find("one").unwrap().id(id), index.find("two").unwrap().id(id));
    let node = scene.ready().await;
    let status = async |path: String| viewer::get(node.edge(), &path).await.status;
    assert_eq!(status(format!("/cdn/{id}/two")).await, 200);
    node.block(11, ContentId::Patch(one)).await;
    for path in [
        format!("/cdn/{one}"),
        format!("/v1/blobs/by-quilt-patch-id/{one}"),
        format!("/cdn/{id}/one"),
        format!("/v1/blobs/by-quilt-id/{id}/one"),
    ] {
        assert_eq!(status(path.clone()).await, 451, "{path}");
    }
    for path in [format!("/cdn/{two}"), format!("/cdn/{id}/two"), format!("/cdn/{id}")] {
        assert_eq!(status(path.clone()).await, 200, "{path}");
    }
    node.block(12, ContentId::Blob(id)).await;
    for path in [
        format!("/cdn/{two}"),
        format!("/cdn/{id}/two"),
        format!("/cdn/{id}/none"),
        format!("/v1/quilts/{id}/patches"),
    ] {
        assert_eq!(status(path.clone()).await, 451, "{path}");
    }
}

#[tokio::test]
async fn a_running_response_is_cut_when_its_id_is_blocked_and_runs_on_when_it_is_purged() {
    let scene = Scene::new().await;
    // More than the sockets between the two hold.
    let length = 48 << 20;
    let id = scene.origin.store(Bytes::from(vec![3; length]));
    let node = scene.ready().await;
    let path = format!("/cdn/{id}");
    eventually("it is in memory", || async {
        viewer::get(node.edge(), &path).await.header("x-cache") == "HIT"
    })
    .await;
    let begin = async || {
        let mut stream = viewer::begin(node.edge(), "GET", &path, "").await;
        let mut first = [0; 1];
        stream.peek(&mut first).await.unwrap();
        stream.read_exact(&mut []).await.unwrap();
        stream
    };
    let (purged, blocked) = (begin().await, begin().await);
    node.purge(11, id).await;
    let purged = viewer::end(purged).await;
    assert!(purged.is_whole() && purged.status == 200, "{}", purged.body.len());
    node.block(12, ContentId::Blob(id)).await;
    eventually("it is cut, though its viewer takes nothing", async || {
        node.metric("connections").await == "0"
    })
    .await;
    assert_ne!(node.metric("events_responses_cut_total").await, "0");
    let blocked = viewer::end(blocked).await;
    assert_eq!(blocked.status, 200);
    assert!(!blocked.is_whole());
}

/// An HTTP/2 viewer that has asked for `path`, with a window of so many bytes.
async fn begin_http2(edge: std::net::SocketAddr, path: &str, window: u8) -> TcpStream {
    let mut viewer = TcpStream::connect(edge).await.unwrap();
    let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, window];
    let length = u8::try_from(path.len()).unwrap();
    // GET, http, a path and an authority.
    let block = [b"\x82\x86\x44", &[length][..], path.as_bytes(), b"\x41\x01a"].concat();
    let head = [0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &head, &block].concat();
    viewer.write_all(&hello).await.unwrap();
    viewer
}

/// Bytes of the next frame of a response's body; `None` once the connection has ended.
async fn next_data(viewer: &mut TcpStream) -> Option<usize> {
    loop {
        let mut head = [0; 9];
        viewer.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        viewer.read_exact(&mut vec![0; length]).await.ok()?;
        if head[3] == 0 {
            return Some(length);
        }
    }
}

#[tokio::test]
async fn an_http2_viewer_without_a_window_does_not_get_what_waits_for_it_after_a_block() {
    let scene = Scene::new().await;
    let id = scene.origin.store(Bytes::from(vec![3; 40 << 10]));
    let other = scene.origin.store(Bytes::from(vec![4; 40 << 10]));
    let node = scene.ready().await;
    for id in [id, other] {
        eventually("it is in memory", || async {
            viewer::get(node.edge(), &format!("/cdn/{id}")).await.header("x-cache") == "HIT"
        })
        .await;
    }
    let mut blocked = begin_http2(node.edge(), &format!("/cdn/{id}"), 16).await;
    let mut allowed = begin_http2(node.edge(), &format!("/cdn/{other}"), 16).await;
    for viewer in [&mut blocked, &mut allowed] {
        assert_eq!(timeout(DEADLINE, next_data(viewer)).await.unwrap(), Some(16));
    }
    node.block(11, ContentId::Blob(id)).await;
    eventually("it is cut", async || node.metric("connections").await == "1").await;
    let window = [0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0x80, 0];
    allowed.write_all(&window).await.unwrap();
    let _is_reset = blocked.write_all(&window).await.is_err();
    assert_eq!(timeout(DEADLINE, next_data(&mut blocked)).await.unwrap(), None);
    let mut rest = 0;
    while rest < 32 << 10 {
        rest += timeout(DEADLINE, next_data(&mut allowed)).await.unwrap().expect("it goes on");
    }
}
