//! What a collector gets from a process of ours, and what it cannot do to it.

#![cfg(feature = "otlp")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{convert::Infallible, process::Output, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::TcpListener,
    process::Command,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;

/// For anything that should take milliseconds, or two seconds if a collector is in the way.
const DEADLINE: Duration = Duration::from_secs(20);

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Takes batches of spans as a collector does; each is passed on with the path it came to.
async fn collector() -> (String, mpsc::Receiver<(String, Bytes)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (passed_on, batches) = mpsc::channel(16);
    let tasks = TaskTracker::new();
    tasks.clone().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let passed_on = passed_on.clone();
            let service = service_fn(move |request| take(request, passed_on.clone()));
            let connection = http2::Builder::new(TokioExecutor::new());
            tasks.spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (endpoint, batches)
}

async fn take(
    request: Request<Incoming>,
    passed_on: mpsc::Sender<(String, Bytes)>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    passed_on.send((path, body)).await.unwrap();
    // A message of no bytes, and that all is well.
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from_static(&[0; 5]));
    let body = body.with_trailers(async move { Some(Ok(trailers)) });
    let response = Response::builder().header(header::CONTENT_TYPE, "application/grpc");
    Ok(response.body(body).unwrap())
}

async fn end_of(args: &[&str]) -> (Output, Duration) {
    let start = Instant::now();
    let mut specimen = Command::new(env!("CARGO_BIN_EXE_daemon-specimen"));
    let specimen = specimen.args(args).env_clear().kill_on_drop(true).output();
    let output = timeout(DEADLINE, specimen).await.expect("the process ends").unwrap();
    (output, start.elapsed())
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn our_spans_reach_the_collector_before_the_process_ends() {
    for threads in ["1", "2"] {
        let (endpoint, mut batches) = collector().await;
        let args = ["--then", "trace", "--log", "off", "--threads", threads];
        let traces = ["--otlp-endpoint", &endpoint, "--otlp-sample", "1"];
        let (output, _) = end_of(&[&args[..], &traces].concat()).await;
        assert_eq!(output.status.code(), Some(0));
        let (path, batch) = batches.try_recv().expect("a batch came before the end");
        assert_eq!(path, EXPORT);
        for told in ["edge_request", "daemon-specimen", env!("CARGO_PKG_VERSION")] {
            assert!(contains(&batch, told), "{told}");
        }
        for kept in ["detail", "of_a_library"] {
            assert!(!contains(&batch, kept), "{kept}");
        }
    }
}

#[tokio::test]
async fn what_is_not_sampled_is_not_sent() {
    let (endpoint, mut batches) = collector().await;
    let traces = ["--otlp-endpoint", &endpoint, "--otlp-sample", "0"];
    let (output, _) = end_of(&[&["--then", "trace"][..], &traces].concat()).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(batches.try_recv().is_err());
}

#[tokio::test]
async fn a_silent_collector_delays_the_end_by_no_more_than_the_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let traces = ["--otlp-endpoint", &endpoint, "--otlp-sample", "1", "--threads", "1"];
    let (output, took) = end_of(&[&["--then", "trace"][..], &traces].concat()).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn a_collector_that_is_away_is_told_of_once_and_nothing_fails() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let traces = ["--otlp-endpoint", &endpoint, "--otlp-sample", "1"];
    let (output, _) = end_of(&[&["--then", "trace"][..], &traces].concat()).await;
    assert_eq!(output.status.code(), Some(0));
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(log.matches("collector takes no traces").count(), 1, "{log}");
    assert_eq!(log.matches("WARN").count() + log.matches("ERROR").count(), 1, "{log}");
}

#[tokio::test]
async fn traces_that_make_no_sense_exit_with_2() {
    for args in [["--otlp-endpoint", "localhost:4317"], ["--otlp-sample", "2"]] {
        let (output, _) = end_of(&args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn without_a_collector_nothing_is_sent_and_all_goes_on() {
    let (output, _) = end_of(&["--then", "trace", "--otlp-sample", "1"]).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stderr).unwrap().contains("started"));
}
