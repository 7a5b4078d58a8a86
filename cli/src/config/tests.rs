use proptest::prelude::*;
use wcdn_proto::Span;

use super::*;

const FILE: &str = r#"
endpoint = "http://head:1"
api_key_file = "head-key"

[profile.staging]
endpoint = "https://staging:2"
"#;

/// A home with the file and its key.
fn home(file: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".config/wcdn");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), file).unwrap();
    fs::write(folder.join("head-key"), "wcdn_head\n").unwrap();
    home
}

fn flags(endpoint: Option<&str>, profile: Option<&str>) -> ConnectionArgs {
    ConnectionArgs {
        endpoint: endpoint.map(str::to_owned),
        api_key_file: None,
        ca_file: None,
        profile: profile.map(str::to_owned),
        call_timeout: Span::secs(10),
    }
}

fn read(
    args: ConnectionArgs,
    home: &Path,
    variables: &[(&str, &str)],
) -> Result<Connection, ConfigError> {
    Connection::read(args, |name| {
        let value = variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into());
        if name == "HOME" { Some(home.into()) } else { value }
    })
}

fn address(args: ConnectionArgs, home: &Path, variables: &[(&str, &str)]) -> String {
    let ways = read(args, home, variables).unwrap().ways;
    ways.into_iter().map(|way| way.address).collect::<Vec<_>>().join(" ")
}

proptest! {
    #[test]
    fn any_address_is_accepted_or_refused(text in "(https?://)?[ -~]{0,30}") {
        if let Ok(endpoint) = endpoint(&text, None) {
            prop_assert!(endpoint.uri().host().is_some());
        }
    }

    #[test]
    fn any_file_is_read_or_refused(text in r#"(endpoint|ca_file|x) = "[a-z]{0,4}"|\[profile.a\]|[ -~]{0,20}"#) {
        let home = home(&text);
        if let Ok(connection) = read(flags(Some("http://a:1"), None), home.path(), &[("WCDN_API_KEY", "k")]) {
            prop_assert_eq!(&connection.ways[0].address, "http://a:1");
        }
    }
}

#[test]
fn flags_count_more_than_a_profile_than_the_environment_than_the_file() {
    let home = home(FILE);
    let variables = [("WCDN_ENDPOINT", "http://variable:3")];
    let all = flags(Some("http://flag:4"), Some("staging"));
    assert_eq!(address(all, home.path(), &variables), "http://flag:4");
    assert_eq!(address(flags(None, Some("staging")), home.path(), &variables), "https://staging:2");
    assert_eq!(address(flags(None, None), home.path(), &variables), "http://variable:3");
    assert_eq!(address(flags(None, None), home.path(), &[]), "http://head:1");
}

#[test]
fn without_any_word_it_is_the_local_control_plane_but_a_key_is_needed() {
    let empty = tempfile::tempdir().unwrap();
    let with_key = [("WCDN_API_KEY", "wcdn_key"), ("WCDN_ENDPOINT", "")];
    assert_eq!(address(flags(None, None), empty.path(), &with_key), DEFAULT_ENDPOINT);
    let without = read(flags(None, None), empty.path(), &[]);
    assert!(matches!(without, Err(ConfigError::NoKey)));
}

#[test]
fn a_key_is_read_without_the_line_end_and_never_shown() {
    let home = home(FILE);
    let connection = read(flags(None, None), home.path(), &[]).unwrap();
    assert_eq!(connection.key.header(), "wcdn_head");
    assert!(!format!("{connection:?}").contains("wcdn_head"));
    for wrong in ["", "two words", "grün"] {
        let error = ApiKey::parse(wrong, "WCDN_API_KEY".into()).unwrap_err().to_string();
        assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
    }
}

#[test]
fn profiles_and_keys_that_are_not_there_are_named() {
    let nowhere = home(FILE);
    let error = read(flags(None, Some("prod")), nowhere.path(), &[]).unwrap_err().to_string();
    assert!(error.contains("no profile \"prod\" in "), "{error}");
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_its_line_and_without_secrets() {
    let wrong = home("endpoint = \"http://a:1\"\napi_key = \"wcdn_secret\"\n");
    let error = read(flags(None, None), wrong.path(), &[]).unwrap_err().to_string();
    assert!(error.contains("config.toml, line 2: unknown field `api_key`"), "{error}");
    assert!(!error.contains("wcdn_secret"), "{error}");
}

#[test]
fn addresses_without_host_or_port_are_refused() {
    for wrong in
        ["", "localhost", "::1:4501", ":4501", "a:65536", "ftp://a:1", "http://", "http:///x"]
    {
        let error = endpoint(wrong, None).unwrap_err();
        assert!(matches!(error, ConfigError::Address { .. }), "{wrong}: {error}");
    }
}

#[test]
fn a_host_and_a_port_suffice() {
    for (bare, host) in [
        ("127.0.0.1:4501", "127.0.0.1"),
        ("[::1]:4501", "[::1]"),
        ("localhost:4501", "localhost"),
        ("wcdn.example:4501", "wcdn.example"),
    ] {
        let endpoint = endpoint(bare, None).unwrap();
        let uri = endpoint.uri();
        assert_eq!((uri.scheme_str(), uri.host()), (Some("http"), Some(host)), "{bare}");
        assert_eq!(uri.port_u16(), Some(4501));
    }
}

#[test]
fn where_authorities_are_named_it_is_encrypted() {
    let home = tempfile::tempdir().unwrap();
    let missing = home.path().join("ca.pem");
    let error = endpoint("wcdn.example:4501", Some(missing)).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
}
