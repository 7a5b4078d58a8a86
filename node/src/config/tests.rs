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
        .replace("# trusted", "trusted")
        .replace("# weight", "weight")
        .replace("# ejected", "ejected");
    let config: Config = toml::from_str(&text).unwrap();
    assert_eq!(config.origins().len(), 1);
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn what_browsers_are_told_of_tls_in_the_example_is_the_default() {
    let lines = EXAMPLE.lines().skip_while(|line| *line != "# [tls.hsts]").take(4);
    let block: String =
        lines.map(|line| format!("{}\n", line.strip_prefix("# ").unwrap())).collect();
    let text = format!(
        "[listen]\ntls = \"127.0.0.1:1\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n{block}"
    );
    let config: Config = toml::from_str(&text).unwrap();
    assert_eq!(config.check(), Ok(()));
    assert_eq!(config.tls.hsts, Some(Hsts::default()));
    assert_eq!(Hsts::default().header(), "max-age=31536000");
}

#[test]
fn browsers_are_told_only_what_holds() {
    let config: Config = toml::from_str(
        "[tls.hsts]\nmax_age = \"364d\"\ninclude_subdomains = true\npreload = true\n",
    )
    .unwrap();
    assert_eq!(
        config.check().unwrap_err().to_string(),
        "tls.hsts is given, and is said over TLS only; give listen.tls, too\n\
         tls.hsts.preload is true; lists take names only with include_subdomains and a max_age of 365d"
    );
    let hsts = config.tls.hsts.unwrap();
    assert_eq!(hsts.header(), "max-age=31449600; includeSubDomains; preload");
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
         [[origin]]\nname = \"a\"\nurl = \"http://b\"\nweight = 0\n",
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
        "origin a has weight 0; it lies between 1 and 1000",
    ] {
        assert!(told.lines().any(|line| line == problem), "{problem} is missing in\n{told}");
    }
    assert_eq!(told.lines().count(), 11);
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

#[test]
fn another_key_of_the_cluster_stands_beside_the_one_in_use() {
    let alone: Config = toml::from_str("[cluster]\nprevious_key_file = \"o\"\n").unwrap();
    assert_eq!(
        alone.check().unwrap_err().to_string(),
        "cluster.key_file is missing; cluster.previous_key_file is of use only beside it"
    );
    let keys = |other: &str| {
        let text = format!("[cluster]\nkey_file = \"k\"\nprevious_key_file = \"{other}\"\n");
        toml::from_str::<Config>(&text).unwrap().check()
    };
    assert_eq!(keys("o"), Ok(()));
    assert_eq!(
        keys("k").unwrap_err().to_string(),
        "cluster.previous_key_file is k, as cluster.key_file is; leave it out unless keys are changed"
    );
}

#[test]
fn a_control_plane_needs_what_it_needs() {
    let config: Config = toml::from_str(
        "[cluster]\nstrict = true\nlease = \"1s\"\n\
         [control]\nendpoints = [\"control:4501\", \"https://c:4501\"]\nkey = \"k\"\n\
         [gossip]\nseeds = [\"10.0.0.5\"]\nissuer_keys = [\"abc\"]\n",
    )
    .unwrap();
    assert_eq!(
        config.check().unwrap_err().to_string(),
        "cluster.lease is 1s; it lies between 2s and 5m, for the head is asked for each second\n\
         control.endpoints has control:4501; write it like https://control.example.com:4501\n\
         control.ca_file is missing, and https://c:4501 needs it\n\
         cluster.key_file is missing, and control.endpoints needs it: the control plane knows its \
         nodes by this key\n\
         control.certificate is missing; control.key needs it\n\
         gossip.issuer_keys has abc; a public key is 64 hexadecimal digits\n\
         gossip.seeds has 10.0.0.5; write it like 10.0.0.5:4502\n\
         cluster.strict is true without gossip.listen: nothing would ever confirm the log, so that \
         nothing would be served\n\
         gossip.listen is missing, and control.endpoints needs it: events come by it"
    );
    let nowhere: Config = toml::from_str("[gossip]\nlisten = \"0.0.0.0:4519\"\n").unwrap();
    assert!(nowhere.check().unwrap_err().to_string().starts_with(
        "gossip.advertise is missing; gossip.listen is 0.0.0.0:4519, and others need an address"
    ));
    let alone: Config = toml::from_str("[gossip]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    assert_eq!(
        alone.check().unwrap_err().to_string(),
        "control.endpoints is empty; gossip.listen needs a control plane\n\
         gossip.issuer_keys is empty; without the control plane's public key no event is believed"
    );
}

#[test]
fn control_planes_are_listed_once_each_and_are_not_too_many() {
    let listed = |count: usize| {
        let urls = (0..count).map(|n| format!("http://c{}:4501", n.min(16)));
        let mut config = Config::default();
        config.control.endpoints = urls.collect();
        config.check().unwrap_err().to_string()
    };
    let told = listed(18);
    assert!(told.contains("control.endpoints has 18 entries; the most is 16"), "{told}");
    let twice = "control.endpoints has http://c16:4501 twice; list each control plane once";
    assert!(told.contains(twice), "{told}");
    let told = listed(16);
    assert!(!told.contains("control.endpoints has"), "{told}");
}

#[test]
fn peers_need_gossip_and_an_address() {
    let config: Config = toml::from_str(
        "[listen]\nadmin = \"0.0.0.0:4513\"\npeer = \"0.0.0.0:4513\"\n[peer]\nmax_requests = 0\n",
    )
    .unwrap();
    assert_eq!(
        config.check().unwrap_err().to_string(),
        "listen.peer is 0.0.0.0:4513, as listen.admin is; each needs an address of its own\n\
         peer.advertise is missing; listen.peer is 0.0.0.0:4513, and others need an address\n\
         gossip.listen is missing, and listen.peer needs it: by gossip peers know of each other\n\
         peer.max_requests is 0; the least is 1"
    );
    let nowhere: Config = toml::from_str("[peer]\nadvertise = \"[::]:4513\"\n").unwrap();
    assert_eq!(
        nowhere.check().unwrap_err().to_string(),
        "peer.advertise is [::]:4513; it must be an address that others can reach"
    );
}
