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

#[test]
fn the_origin_in_the_example_is_one() {
    let text = EXAMPLE
        .replace("# [[origin]]", "[[origin]]")
        .replace("# name", "name")
        .replace("# url", "url")
        .replace("# trusted", "trusted");
    let config: Config = toml::from_str(&text).unwrap();
    assert_eq!(config.origins().len(), 1);
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn defaults_make_sense_and_fill_from_mainnet() {
    let config = Config::default();
    assert_eq!(config.check(), Ok(()));
    assert_eq!(config.origins().len(), 51);
}

#[test]
fn every_problem_is_told_with_its_key_value_and_remedy() {
    let config: Config = toml::from_str(
        "[cache]\nmemory = \"8 MiB\"\nnegative_ttl = \"3s\"\n\
         [verify]\nhold = \"2 MiB\"\nmax = \"1 MiB\"\n\
         [fetch]\ntries = 0\nmax_fills = 100\nidle_timeout = \"0s\"\n\
         [walrus]\nn_shards = 3\n[access_log]\nsample = 1.5\n\
         [[origin]]\nname = \"a\"\nurl = \"http://a\"\n\
         [[origin]]\nname = \"a\"\nurl = \"http://b\"\n",
    )
    .unwrap();
    let told = config.check().unwrap_err().to_string();
    for problem in [
        "cache.memory is 8 MiB; the least is 16 MiB",
        "cache.negative_ttl is 3s; the most is 2s",
        "verify.max is 1 MiB; the least is verify.hold (2 MiB)",
        "fetch.slice is 4 MiB; the most is a sixteenth of cache.memory (8 MiB)",
        "fetch.tries is 0; the least is 1",
        "fetch.idle_timeout is 0; waiting for no time at all would refuse everything",
        "limits.fills_per_client is 128; the most is a quarter of fetch.max_fills (100)",
        "walrus.n_shards is 3; a code needs at least 4 shards",
        "access_log.sample is 1.5; it lies between 0 and 1",
        "origin has a twice; names are unique",
    ] {
        assert!(told.lines().any(|line| line == problem), "{problem} is missing in\n{told}");
    }
    assert_eq!(told.lines().count(), 10);
}

#[test]
fn places_that_cannot_be_are_told() {
    let config: Config = toml::from_str(
        "[listen]\nedge = \"127.0.0.1:80\"\nadmin = \"127.0.0.1:80\"\n\
         [proxy]\ntrusted = [\"::ffff:10.0.0.0/104\", \"10.0.0.0/8\", \"fd00::/8\"]\n",
    )
    .unwrap();
    assert_eq!(
        config.check().unwrap_err().to_string(),
        "listen.admin is 127.0.0.1:80, as listen.edge is; each needs an address of its own\n\
         proxy.trusted has ::ffff:10.0.0.0/104; write it as 10.0.0.0/8"
    );
    let any: Config = toml::from_str("[listen]\nedge = \"[::]:0\"\nadmin = \"[::]:0\"\n").unwrap();
    assert_eq!(any.check(), Ok(()), "the system chooses two");
}
