//! The audit log on either database.

use serde_json::json;
use wcdn_proto::audit::AuditChain;

use super::*;
use crate::{
    audit::{Class, Draft},
    store::audit::{Filter, Order},
};

on_both!(
    the_beginning_of_the_chain_is_forgotten_and_the_rest_stays_whole,
    entries_are_found_by_whatever_is_known_of_them,
    a_change_that_was_refused_is_not_told_as_done,
);

fn draft(action: &str, name: &str) -> Draft {
    let author = Author { key_id: "0123456789".to_owned(), ..Author::program(name) };
    let done = Draft::done(Class::Operation, action, author);
    Draft { target: "t".to_owned(), detail: json!({"a": [1, "é\"\n"]}), ..done }
}

async fn oldest(store: &Store, filter: &Filter) -> Vec<wcdn_proto::audit::AuditEntry> {
    store.audit(filter, Order::OldestAfter(0), 1_000).await.unwrap()
}

async fn the_beginning_of_the_chain_is_forgotten_and_the_rest_stays_whole(on: On) {
    let (_fresh, store) = on.store().await;
    for n in 0..5 {
        store.write_audit(&[draft("purge", &n.to_string()), draft("pin", "p")]).await.unwrap();
    }
    let all = oldest(&store, &Filter::default()).await;
    let mut chain = AuditChain::default();
    all.iter().try_for_each(|entry| chain.follow(entry)).unwrap();
    assert_eq!((chain.first(), chain.last()), (Some(1), 10));
    let fence = turn(&store).await;
    assert!(!store.prune_audit(0, fence).await.unwrap());
    assert_eq!(oldest(&store, &Filter::default()).await.len(), 10);
    // However old: the last one says where the chain ends.
    assert!(store.prune_audit(u64::MAX, fence).await.unwrap());
    let left = oldest(&store, &Filter::default()).await;
    assert_eq!((left.len(), left[0].seq), (1, 10));
    assert_eq!(left[0].previous, all[8].hash);
    store.write_audit(&[draft("purge", "later")]).await.unwrap();
    let mut chain = AuditChain::after(9, all[8].hash);
    let left = oldest(&store, &Filter::default()).await;
    left.iter().try_for_each(|entry| chain.follow(entry)).unwrap();
    assert_eq!(store.audit_head().await.unwrap(), (11, left[1].hash));
}

async fn entries_are_found_by_whatever_is_known_of_them(on: On) {
    let (_fresh, store) = on.store().await;
    let drafts: Vec<_> = ["key.create", "key.rotate", "purge", "keys"]
        .iter()
        .map(|action| draft(action, "ci"))
        .collect();
    store.write_audit(&drafts).await.unwrap();
    let actions = |action: &str| Filter { action: Some(action.to_owned()), ..Filter::default() };
    assert_eq!(oldest(&store, &actions("key.")).await.len(), 2);
    assert_eq!(oldest(&store, &actions("key.rotate")).await.len(), 1);
    assert_eq!(oldest(&store, &actions("key")).await.len(), 0);
    let of = |key: &str| Filter { key: Some(key.to_owned()), ..Filter::default() };
    assert_eq!(oldest(&store, &of("0123456789")).await.len(), 4);
    assert_eq!(oldest(&store, &of("ci")).await.len(), 4);
    assert_eq!(oldest(&store, &of("ci'; DROP TABLE audit; --")).await.len(), 0);
    let at = oldest(&store, &Filter::default()).await[0].at_ms;
    let since = |from_ms, until_ms| Filter { from_ms, until_ms, ..Filter::default() };
    assert_eq!(oldest(&store, &since(at, at + 1)).await.len(), 4);
    assert_eq!(oldest(&store, &since(at + 1, 0)).await.len(), 0);
    assert_eq!(oldest(&store, &since(0, at)).await.len(), 0);
    let latest = store.audit(&Filter::default(), Order::LatestBefore(u64::MAX), 2).await.unwrap();
    assert_eq!(latest.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [4, 3]);
}

async fn a_change_that_was_refused_is_not_told_as_done(on: On) {
    let (_fresh, store) = on.store().await;
    append(&store, vec![Asked::Pin { ids: vec![blob(1)], note: String::new() }]).await;
    append(&store, vec![Asked::Purge(Purge::All), Asked::Barrier]).await;
    let told = oldest(&store, &Filter::default()).await;
    let actions: Vec<_> = told.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["pin", "barrier"]);
}
