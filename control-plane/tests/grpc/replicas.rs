//! Two control planes on one database, and a database that fails over.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::Code;
use wcdn_postgres::Postgres;
use wcdn_proto::pb::{
    admin::v1::{
        BarrierRequest, BlockRequest, Change, GetStatusRequest, ListBlocksRequest, PurgeRequest,
        Receipt, SetOriginsRequest, WatchReceiptRequest,
    },
    edge::v1::{Origin, OriginPool, Register, session_response::Kind as Down},
};

use crate::{
    log::encoded,
    stage::{FakeEdge, Stage, all, blob, reason, register},
};

/// Longer than anything takes that is to happen.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) async fn server() -> Postgres {
    let mut server = Postgres::temporary().await.unwrap();
    server.listen(&[("fsync", "off")]).await.unwrap();
    server
}

/// Two control planes on this database.
pub(crate) async fn two(url: &str) -> (Stage, Stage) {
    let url = url.to_owned();
    let first = Stage::with(|config| {
        config.store.url = Some(url.parse().unwrap());
        config.store.acquire_timeout = "2s".parse().unwrap();
        config.store.statement_timeout = "2s".parse().unwrap();
        config.receipts.lease = "30s".parse().unwrap();
        config.receipts.lost_after = "60s".parse().unwrap();
    })
    .await;
    let second = first.beside(|config| config.gossip.node = "control-plane-2".parse().unwrap());
    let second = second.await;
    (first, second)
}

async fn purge(stage: &mut Stage, n: u8) -> Change {
    let request = stage.keyed(PurgeRequest { ids: vec![blob(n)], ..Default::default() });
    stage.admin.purge(request).await.unwrap().into_inner().change.unwrap()
}

pub(crate) async fn settled(stage: &mut Stage, change: &Change) -> Receipt {
    let request = stage.keyed(WatchReceiptRequest { change_id: change.id.clone() });
    let stream = stage.admin.watch_receipt(request).await.unwrap().into_inner();
    all(stream).await.unwrap().pop().unwrap().receipt.unwrap()
}

#[tokio::test]
async fn a_change_at_one_is_a_change_at_the_other_with_its_receipt() {
    let server = server().await;
    let (mut first, mut second) = two(&server.url("postgres")).await;
    let at_first = first.edge_named("a", None).await;
    let at_second = second.edge_named("a", None).await;
    for n in 0..10 {
        let began = Instant::now();
        let change =
            if n % 2 == 0 { purge(&mut first, n).await } else { purge(&mut second, n).await };
        // It has applied it before the other control plane looked: that is no lie.
        at_second.report(&change.last, vec![]).await;
        at_first.report(&change.last, vec![]).await;
        for stage in [&mut first, &mut second] {
            let receipt = settled(stage, &change).await;
            assert!(receipt.settled && receipt.complete, "{receipt:?}");
            let took = Duration::from_micros(receipt.nodes[0].applied_after_us);
            assert!(
                !took.is_zero() && took < began.elapsed() + Duration::from_secs(2),
                "{n}: {receipt:?}"
            );
        }
    }
}

#[tokio::test]
async fn blocks_origins_and_keys_of_one_hold_at_the_other() {
    let server = server().await;
    let (mut first, mut second) = two(&server.url("postgres")).await;
    let mut edge = second.edge_named("a", None).await;
    let block = first.keyed(BlockRequest { ids: vec![blob(1)], ..Default::default() });
    first.admin.block(block).await.unwrap();
    let origin = Origin { name: "a".into(), url: "http://a.example".into(), ..Origin::default() };
    let pool = OriginPool { origins: vec![origin], ..OriginPool::default() };
    let origins = SetOriginsRequest { pool: Some(pool) };
    first.admin.set_origins(first.keyed(origins)).await.unwrap();
    let pool = loop {
        if let Some(Down::Origins(pool)) = edge.next().await.unwrap().kind {
            break pool;
        }
    };
    assert_eq!((pool.revision, pool.origins.len()), (1, 1));
    let listed = second.admin.list_blocks(second.keyed(ListBlocksRequest::default())).await;
    assert_eq!(listed.unwrap().into_inner().blocks.len(), 1);
}

#[tokio::test]
async fn each_may_sign_with_a_key_of_its_own_and_believes_the_others() {
    let server = server().await;
    let url = server.url("postgres");
    let mut first = Stage::with(|config| config.store.url = Some(url.parse().unwrap())).await;
    let theirs = first.plane.issuer_key().to_string();
    let with_key_of_its_own = |known: Vec<String>| {
        first.beside(|config| {
            config.gossip.node = "control-plane-2".parse().unwrap();
            config.cluster.signing_key_file.set_file_name("signing-2.key");
            config.cluster.issuer_keys = known;
        })
    };
    let (stranger, friend) =
        (with_key_of_its_own(Vec::new()).await, with_key_of_its_own(vec![theirs]).await);
    assert!(first.plane.issuer_key() != friend.plane.issuer_key());
    let kept = purge(&mut first, 1).await.last.unwrap();
    let applied = purge(&mut first, 2).await.last.unwrap();
    let proof = encoded(&mut first, kept).await.remove(0);

    // Set back by hand while nobody runs, so that nobody knows but an edge.
    let mut stopped = Vec::new();
    for stage in [first, stranger, friend] {
        stopped.push(stage.stop().await);
    }
    server.execute("postgres", "DELETE FROM frames WHERE first_seq = 2").await.unwrap();
    server.execute("postgres", "UPDATE head SET seq = 1").await.unwrap();
    let (folder, config, key) = stopped.pop().unwrap();
    let (_, stranger, _) = stopped.pop().unwrap();
    let claim = || Register { proof: proof.clone(), ..register("a", Some(applied)) };
    let mut strange = Stage::resume(tempfile::tempdir().unwrap(), stranger, key.clone()).await;
    let Err(refused) = strange.register(claim()).await else { panic!("it knows that key") };
    assert_eq!(reason(&refused), "POSITION_UNPROVEN");
    let mut friend = Stage::resume(folder, config, key).await;
    let edge = friend.register(claim()).await.unwrap();
    assert!(edge.welcome.head.unwrap().epoch > applied.epoch);
}

/// Asks until it is done.
async fn eventually_purged(stage: &mut Stage, n: u8) -> Change {
    let end = Instant::now() + PATIENCE;
    loop {
        let request = PurgeRequest {
            ids: vec![blob(n)],
            idempotency_token: format!("once-{n}"),
            ..Default::default()
        };
        match stage.admin.purge(stage.keyed(request)).await {
            Ok(answer) => return answer.into_inner().change.unwrap(),
            Err(refused) => {
                assert_eq!(
                    (refused.code(), reason(&refused)),
                    (Code::Unavailable, "STORE_FAILED".into())
                );
                assert!(Instant::now() < end, "still: {refused}");
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Until the control plane ends its session, since another log began.
async fn ended(edge: &mut FakeEdge) -> String {
    let ended = async {
        loop {
            if let Err(status) = edge.next().await {
                return reason(&status);
            }
        }
    };
    timeout(PATIENCE, ended).await.expect("the session ends")
}

#[tokio::test]
async fn a_standby_that_lacks_something_begins_a_new_log_when_it_is_promoted() {
    let mut primary = server().await;
    let mut standby = primary.temporary_standby().await.unwrap();
    standby.listen(&[("fsync", "off")]).await.unwrap();
    let ports = (primary.port(), standby.port());
    let url = format!("postgres://wcdn@127.0.0.1:{},127.0.0.1:{}/postgres", ports.0, ports.1);
    let (mut first, mut second) = two(&url).await;
    let mut edges = [first.edge_named("a", None).await, second.edge_named("a", None).await];
    let known = purge(&mut first, 1).await.last.unwrap();

    // The standby is away, and what is acknowledged meanwhile is lost with the primary.
    standby.stop();
    let lost = purge(&mut second, 2).await.last.unwrap();
    assert_eq!((lost.epoch, lost.seq), (known.epoch, known.seq + 1));
    primary.kill();
    let refused = first.admin.barrier(first.keyed(BarrierRequest {})).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::Unavailable, "STORE_FAILED".to_owned()));
    standby.listen(&[("fsync", "off")]).await.unwrap();
    // One that is not promoted is not written.
    let refused = second.admin.barrier(second.keyed(BarrierRequest {})).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    standby.promote().await.unwrap();

    let one = eventually_purged(&mut first, 3).await.last.unwrap();
    let other = eventually_purged(&mut second, 4).await.last.unwrap();
    assert!(one.epoch > lost.epoch && other.epoch == one.epoch, "{one:?} {other:?}");
    assert_ne!(one.seq, other.seq);
    for edge in &mut edges {
        assert_eq!(ended(edge).await, "EPOCH_RAISED");
    }
    for stage in [&mut first, &mut second] {
        let end = Instant::now() + PATIENCE;
        loop {
            let request = stage.keyed(GetStatusRequest {});
            let status = stage.admin.get_status(request).await.map(tonic::Response::into_inner);
            if status.is_ok_and(|status| status.head.unwrap() == other) {
                break;
            }
            assert!(Instant::now() < end, "it does not know the new log");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_starts_again_loses_nothing_and_begins_nothing() {
    let mut server = server().await;
    let (mut first, mut second) = two(&server.url("postgres")).await;
    let before = purge(&mut first, 1).await.last.unwrap();
    server.stop();
    server.listen(&[]).await.unwrap();
    let after = eventually_purged(&mut second, 2).await.last.unwrap();
    assert_eq!((after.epoch, after.seq), (before.epoch, before.seq + 1));
    let again = eventually_purged(&mut first, 3).await.last.unwrap();
    assert_eq!((again.epoch, again.seq), (before.epoch, before.seq + 2));
}
