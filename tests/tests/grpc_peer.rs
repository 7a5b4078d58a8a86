//! A program in another language finds its way by reflection alone.

#[allow(dead_code, reason = "it can do more than is asked of it here")]
#[path = "../../cli/tests/cli/desk.rs"]
mod desk;

use serde_json::json;
use wcdn_proto::{
    BlobId,
    pb::admin::v1::{NodeReceipt, NodeState},
};
use wcdn_tests::grpc_peer;

#[tokio::test]
async fn python_purges_without_generated_code() {
    let desk = desk::Desk::start().await;
    let node = NodeReceipt { node: "eu-1".into(), ..NodeReceipt::default() };
    desk.tell(vec![NodeReceipt { state: NodeState::Applied.into(), ..node }]);
    let id = BlobId::from_bytes([7; 32]).to_string();
    let found = grpc_peer::purge(desk.address, desk::KEY, &id).await;
    assert!(found.services.contains(&"wcdn.admin.v1.AdminService".to_owned()), "{found:?}");
    assert_eq!(found.change["kind"], "purge");
    assert!(desk.state().asked[0].contains(&id), "{found:?}");
    let last = found.receipts.last().expect("a receipt");
    assert_eq!(last["complete"], json!(true));
    assert_eq!(last["nodes"][0]["state"], "NODE_STATE_APPLIED");
}
