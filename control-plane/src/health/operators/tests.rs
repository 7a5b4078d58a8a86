use proptest::prelude::*;

use super::*;
use crate::config::WalrusNetwork;

fn lists(network: WalrusNetwork) -> Lists {
    let mut config = Config::default();
    config.walrus.network = network;
    Lists::new(&config)
}

fn operators(names: &[&str]) -> Operators {
    let entries = names
        .iter()
        .map(|name| format!("\"https://{name}.example\": {{\"operator\": \"{name} & co\"}}"));
    let entries: Vec<_> = entries.collect();
    let list = format!("{{\"mainnet\": {{\"aggregators\": {{{}}}}}}}", entries.join(","));
    Operators::parse(list.as_bytes()).unwrap()
}

fn origin(name: &str, operator: &str) -> Origin {
    Origin {
        name: name.to_owned(),
        url: format!("https://{name}"),
        operator: operator.to_owned(),
        ..Origin::default()
    }
}

fn names(pool: &OriginPool) -> Vec<&str> {
    pool.origins.iter().map(|origin| origin.name.as_str()).collect()
}

#[tokio::test]
async fn public_origins_come_and_go_and_keep_what_was_set_of_them() {
    let mut a = origin("a.example", "a & co");
    (a.weight, a.ejected, a.reason) = (50, true, "by hand".to_owned());
    let origins = vec![
        origin("own", ""),
        a.clone(),
        origin("b.example", "old name"),
        origin("gone.example", "x"),
    ];
    let mut pool = OriginPool { revision: 3, origins, ..OriginPool::default() };
    let lists = lists(WalrusNetwork::Mainnet);
    let difference = lists.merge(&mut pool, &operators(&["a", "b", "c"]), false).unwrap();
    assert_eq!(names(&pool), ["own", "a.example", "b.example", "c.example"]);
    assert_eq!(pool.origins[1], a);
    assert_eq!(difference.added, ["c.example"]);
    assert_eq!(difference.removed, ["gone.example"]);
    assert_eq!(difference.altered, ["b.example"]);
    let again = lists.merge(&mut pool, &operators(&["a", "b", "c"]), false).unwrap();
    assert!(again.is_empty(), "{again:?}");
}

#[tokio::test]
async fn a_list_that_would_take_most_away_is_refused_unless_by_force() {
    let public = ["a.example", "b.example", "c.example"].map(|name| origin(name, "x"));
    let before = OriginPool { origins: public.to_vec(), ..OriginPool::default() };
    let lists = lists(WalrusNetwork::Mainnet);
    let refused = lists.merge(&mut before.clone(), &operators(&["a"]), false).unwrap_err();
    assert!(matches!(refused, ListError::TooMany { leaving: 2, all: 3 }), "{refused}");
    let mut pool = before.clone();
    lists.merge(&mut pool, &operators(&["a"]), true).unwrap();
    assert_eq!(names(&pool), ["a.example"]);
    let empty = lists.merge(&mut before.clone(), &operators(&[]), true).unwrap_err();
    assert!(matches!(empty, ListError::Empty(Network::Mainnet)));
}

#[tokio::test]
async fn a_network_of_ones_own_has_no_list_and_plain_http_is_not_trusted() {
    let local = lists(WalrusNetwork::Local);
    let refused = local.merge(&mut OriginPool::default(), &operators(&["a"]), true).unwrap_err();
    assert!(matches!(refused, ListError::NoNetwork));
    let plain = local.fetch("http://example.com/operators.json").await.unwrap_err();
    assert!(matches!(plain, ListError::Plain));
    let private = local.fetch("https://127.0.0.1/operators.json").await.unwrap_err();
    let told = super::super::fault::told(&private);
    assert!(told.contains("127.0.0.1 is not in the public internet"), "{told}");
}

proptest! {
    #[test]
    fn whatever_the_list_names_stay_unique_and_ones_own_stay_as_they_are(
        present in prop::collection::btree_map("[a-d]{1,2}(\\.example)?", any::<bool>(), 0..8),
        list in prop::collection::btree_set("[a-d]{1,2}", 1..8),
    ) {
        let origins = present.iter().map(|(name, is_own)| origin(name, if *is_own { "" } else { "x" }));
        let mut pool = OriginPool { origins: origins.collect(), ..OriginPool::default() };
        let own: Vec<_> =
            pool.origins.iter().filter(|origin| origin.operator.is_empty()).cloned().collect();
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lists = runtime.block_on(async { lists(WalrusNetwork::Mainnet) });
        lists.merge(&mut pool, &operators(&list), true).unwrap();
        let kept = pool.origins.iter().filter(|origin| origin.operator.is_empty()).cloned();
        prop_assert_eq!(kept.collect::<Vec<_>>(), own);
        let unique: HashSet<_> = names(&pool).into_iter().collect();
        prop_assert_eq!(unique.len(), pool.origins.len());
    }
}
