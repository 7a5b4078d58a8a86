use wcdn_walrus::HttpOptions;

use super::*;
use crate::origin::{Need, Unready, attempt::AttemptError, standing::LONGEST_EJECTION};

fn spec(name: &str, url: &str) -> OriginSpec {
    OriginSpec::new(name.parse().unwrap(), url.parse().unwrap())
}

fn pool_of(specs: Vec<OriginSpec>, fetch: Fetch) -> Pool {
    let http = HttpClient::new(HttpOptions::default());
    let (metrics, _) = Metrics::new("test", "test");
    Pool::new(specs, &http, fetch, &Arc::new(metrics))
}

pub(crate) fn pool(names: &[&str]) -> Pool {
    let specs = names.iter().map(|name| spec(name, &format!("http://{name}.example")));
    pool_of(specs.collect(), Fetch::default())
}

/// Origins at these URLs.
pub(crate) fn origins(urls: &[&str]) -> Vec<Arc<Origin>> {
    let specs = urls.iter().enumerate().map(|(n, url)| spec(&format!("o-{n}"), url));
    let pool = pool_of(specs.collect(), Fetch::default());
    pool.shared.origins.load().to_vec()
}

fn names(ranked: &[Arc<Origin>]) -> Vec<&str> {
    ranked.iter().map(|origin| origin.name().as_str()).collect()
}

const OUTAGE: AttemptError = AttemptError::Silent(Duration::from_secs(1));

#[tokio::test]
async fn a_blob_keeps_its_order_when_an_origin_leaves() {
    let (all, fewer) = (pool(&["a", "b", "c", "d"]), pool(&["a", "b", "d"]));
    for n in 0..50 {
        let id = BlobId::from_bytes([n; 32]);
        let mut order = names(&all.ranked(&id, None)).join("");
        order.retain(|c| c != 'c');
        assert_eq!(order, names(&fewer.ranked(&id, None)).join(""));
    }
}

#[tokio::test]
async fn blobs_spread_over_the_origins() {
    let pool = pool(&["a", "b", "c"]);
    let first = |n| names(&pool.ranked(&BlobId::from_bytes([n; 32]), None))[0].to_owned();
    for name in ["a", "b", "c"] {
        let count = (0..90).filter(|n| first(*n) == name).count();
        assert!((15..=45).contains(&count), "{name} comes first for {count} of 90");
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_lied_is_asked_last_for_a_while() {
    let pool = pool(&["a", "b", "c"]);
    let id = BlobId::from_bytes([7; 32]);
    let before = pool.ranked(&id, None);
    before[0].lied(&id);
    assert!(Arc::ptr_eq(&pool.ranked(&id, None)[2], &before[0]));
    tokio::time::advance(LONGEST_EJECTION).await;
    assert!(Arc::ptr_eq(&pool.ranked(&id, None)[0], &before[0]));
}

#[tokio::test(start_paused = true)]
async fn only_one_request_at_a_time_tries_an_origin_that_failed() {
    let pool = pool(&["a", "b", "c"]);
    let id = BlobId::from_bytes([7; 32]);
    let origin = Arc::clone(&pool.ranked(&id, None)[0]);
    origin.failed(&OUTAGE);
    tokio::time::advance(Duration::from_secs(1)).await;
    let probe = origin.acquire(Need::Choice).unwrap();
    assert_eq!(origin.acquire(Need::Choice).unwrap_err(), Unready::Probed);
    assert!(origin.acquire(Need::LastResort).is_ok(), "unless nobody else can be asked");
    assert!(Arc::ptr_eq(&pool.ranked(&id, None)[2], &origin));
    drop(probe);
    let probe = origin.acquire(Need::Choice).unwrap();
    origin.served();
    drop(probe);
    assert!(Arc::ptr_eq(&pool.ranked(&id, None)[0], &origin));
}

#[tokio::test(start_paused = true)]
async fn requests_to_one_origin_are_bounded_at_once_and_per_second() {
    let fetch = Fetch { max_per_origin: 2, origin_rate: 1, ..Fetch::default() };
    let pool = pool_of(vec![spec("a", "http://a.example")], fetch);
    let origin = Arc::clone(&pool.ranked(&BlobId::from_bytes([7; 32]), None)[0]);
    let (one, two) = (origin.acquire(Need::Choice).unwrap(), origin.acquire(Need::Choice));
    assert_eq!(origin.acquire(Need::LastResort).unwrap_err(), Unready::Full(2));
    drop((one, two));
    drop((origin.acquire(Need::Choice).unwrap(), origin.acquire(Need::Choice).unwrap()));
    assert_eq!(origin.acquire(Need::Choice).unwrap_err(), Unready::Spent);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(origin.acquire(Need::Choice).is_ok());
    assert_eq!(pool.reports()[0].in_flight, 0, "every permit was returned");
}

#[tokio::test]
async fn one_that_refused_a_size_is_asked_last_for_it_and_larger_ones() {
    let pool = pool(&["a", "b", "c"]);
    let id = BlobId::from_bytes([7; 32]);
    let origin = Arc::clone(&pool.ranked(&id, None)[0]);
    origin.refuses(1_000);
    let place = |length| {
        let ranked = pool.ranked(&id, length);
        ranked.iter().position(|other| Arc::ptr_eq(other, &origin)).unwrap()
    };
    assert_eq!([place(None), place(Some(999)), place(Some(1_000))], [0, 0, 2]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_ejected_for_all_is_asked_last_and_not_to_be_faster() {
    let pool = pool(&["a", "b", "c"]);
    let id = BlobId::from_bytes([7; 32]);
    let before = pool.ranked(&id, None);
    let specs = |ejected: bool| -> Vec<OriginSpec> {
        let all = before.iter().map(|origin| origin.spec.clone());
        let is_first = |spec: &OriginSpec| spec.name == *before[0].name();
        all.map(|spec| OriginSpec { ejected: ejected && is_first(&spec), ..spec }).collect()
    };
    pool.replace(specs(true));
    let ranked = pool.ranked(&id, None);
    assert!(Arc::ptr_eq(&ranked[2], &before[0]), "it kept its standing");
    assert_eq!(before[0].acquire(Need::Hedge).unwrap_err(), Unready::Away);
    assert!(before[0].acquire(Need::Choice).is_ok(), "where nobody else serves");
    // One that this node ejected by itself comes before it all the same.
    ranked[0].lied(&id);
    assert!(Arc::ptr_eq(&pool.ranked(&id, None)[2], &before[0]));
    pool.replace(specs(false));
    assert!(Arc::ptr_eq(&pool.ranked(&id, None)[0], &before[0]), "and returned");
}

#[tokio::test]
async fn blobs_spread_by_weight() {
    let pool = pool(&["a", "b"]);
    let weigh = |weight| OriginSpec { weight, ..spec("a", "http://a.example") };
    let share = |pool: &Pool| {
        let ids = (0..200).map(|n| BlobId::from_bytes([n; 32]));
        ids.filter(|id| pool.ranked(id, None)[0].name().as_str() == "a").count()
    };
    pool.replace(vec![weigh(300), spec("b", "http://b.example")]);
    assert!((125..=175).contains(&share(&pool)), "{} of 200", share(&pool));
    pool.replace(vec![weigh(1), spec("b", "http://b.example")]);
    assert!(share(&pool) <= 8, "{} of 200", share(&pool));
}

#[tokio::test]
async fn a_replaced_pool_keeps_the_standing_of_those_that_stay() {
    let pool = pool(&["a", "b"]);
    let stays = Arc::clone(&pool.shared.origins.load()[0]);
    stays.failed(&OUTAGE);
    let moved = spec("b", "http://b.elsewhere.example");
    pool.replace(vec![spec("a", "http://a.example"), moved, spec("c", "http://c.example")]);
    let described = pool.describe();
    let states: Vec<_> = (0..3).map(|n| described["origins"][n]["state"].clone()).collect();
    assert_eq!(states, ["ejected", "passing", "passing"]);
    assert_eq!(described["origins"][1]["url"], "http://b.elsewhere.example");
    assert_eq!(described["origins"][0]["failed"], 1);
}
