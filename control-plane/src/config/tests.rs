//! The configuration keeps its promises.

use super::*;

const EXAMPLE: &str = include_str!("../../config.example.toml");

#[test]
fn the_example_shows_every_key_at_its_default() {
    let shown: Config = toml::from_str(EXAMPLE).unwrap();
    assert_eq!(shown, Config::default());
    let example: toml::Table = toml::from_str(EXAMPLE).unwrap();
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    let keys = |table: &toml::Table| -> Vec<String> {
        let sections = table.iter().filter_map(|(name, section)| Some((name, section.as_table()?)));
        let mut keys: Vec<String> = sections
            .flat_map(|(name, keys)| keys.keys().map(move |key| format!("{name}.{key}")))
            .collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&example), keys(&defaults));
}

fn is_key(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
}

#[test]
fn keys_that_have_no_default_are_shown_as_they_are_written() {
    let text: String = EXAMPLE
        .lines()
        .map(|line| {
            let shown =
                line.strip_prefix("# ").filter(|rest| rest.starts_with("[[") || is_key(rest));
            format!("{}\n", shown.unwrap_or(line))
        })
        .collect();
    let config: Config = toml::from_str(&text).unwrap();
    assert!(config.listen.gossip.is_some() && config.tls.client_ca.is_some());
    assert_eq!(config.base_pool().origins.len() + config.base_pool().publishers.len(), 2);
    assert!(config.health.known_blob.is_some());
    assert!(config.cluster.previous_key_file.is_some() && config.keys.fixed_key_file.is_some());
    assert!(config.store.url.is_some() && config.store.password_file.is_some());
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn defaults_make_sense() {
    let config = Config::default();
    assert_eq!(config.check(), Ok(()));
    assert_eq!(config.base_pool().origins.len(), 51);
}

#[test]
fn every_problem_is_told_with_its_key_value_and_remedy() {
    let config: Config = toml::from_str(
        "[listen]\ngrpc = \"127.0.0.1:1\"\nadmin = \"127.0.0.1:1\"\ngossip = \"0.0.0.0:5\"\n[tls]\nclient_ca = \"a\"\n\
         [log]\nretention = \"1s\"\nmax_frames = 1\nmax_waiting = 0\n\
         [cluster]\nkey_file = \"k\"\nprevious_key_file = \"k\"\nsigning_key_file = \"k\"\n\
         [store]\npassword_file = \"p\"\nmax_connections = 1\nacquire_timeout = \"0s\"\n\
         [receipts]\nlost_after = \"1s\"\n\
         [walrus]\nn_shards = 3\n[health]\ninterval = \"0s\"\neject_after = 0\n\
         operators = \"http://a\"\n[[origin]]\nname = \"a\"\nurl = \"http://a\"\n\
         [[origin]]\nname = \"a\"\nurl = \"http://b\"\n\
         [limits]\nmax_message = \"1 MiB\"\nmax_sessions = 0\ncall_timeout = \"0s\"\n",
    )
    .unwrap();
    let told = config.check().unwrap_err().to_string();
    for problem in [
        "listen.admin is 127.0.0.1:1, as listen.grpc is; each needs an address of its own",
        "gossip.advertise is missing; others cannot reach 0.0.0.0:5 (listen.gossip): name an address",
        "tls.certificate is missing; tls.client_ca needs it",
        "store.password_file is given, but no store.url",
        "store.max_connections is 1; it must be 4 to 1000",
        "store.acquire_timeout is 0; waiting for no time at all would refuse everything",
        "log.retention is 1s; the least is 1m",
        "log.max_frames is 1; the least is 1024",
        "log.max_waiting is 0; the least is 1",
        "cluster.previous_key_file is k, as cluster.key_file is; leave it out unless keys are changed",
        "cluster.signing_key_file is k, as cluster.key_file is; edges know that one, and must not \
         sign",
        "receipts.lost_after is 1s; the least is receipts.lease (5s)",
        "walrus.n_shards is 3; a code needs at least 4 shards",
        "origin has a twice; names are unique",
        "health.interval is 0; waiting for no time at all would refuse everything",
        "health.eject_after is 0; the least is 1",
        "health.operators is http://a; anybody could change it on its way: use https",
        "limits.max_message is 1 MiB; the least is 6 MiB",
        "limits.max_sessions is 0; the least is 1",
        "limits.call_timeout is 0; waiting for no time at all would refuse everything",
    ] {
        assert!(told.lines().any(|line| line == problem), "{problem} is missing in\n{told}");
    }
    assert_eq!(told.lines().count(), 20);
}
