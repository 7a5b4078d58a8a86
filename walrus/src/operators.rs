//! The list of public operators, as the Walrus documentation keeps it (`operators.json`).
//!
//! ```text
//! {"mainnet": {"aggregators": {"https://…": {"operator": "…", "cache": true, "functional": true}, …},
//!              "publishers": {"https://…": {"operator": "…"}, …}},
//!  "testnet": {…}}
//! ```

mod fetch;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, de::DeserializeOwned};

pub use self::fetch::OperatorsError;
use crate::{BaseUrl, Network, NetworkOperator, networks};

/// Bytes of a list that are read: the real one has some 20 kB.
pub const MAX_OPERATORS_DOCUMENT: usize = 1 << 20;

/// Entries of one list that are taken; the real ones have some 60.
const MAX_ENTRIES: usize = 1_000;

/// Characters of an operator's name.
const MAX_OPERATOR: usize = 80;

/// Who runs what, by network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operators {
    mainnet: Lists,
    testnet: Lists,
    skipped: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Lists {
    aggregators: Vec<NetworkOperator>,
    publishers: Vec<NetworkOperator>,
}

/// Why bytes are no list of operators.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOperators {
    /// There are too many of them.
    #[error("has {length} bytes; the most is {MAX_OPERATORS_DOCUMENT}")]
    TooLong {
        /// Bytes.
        length: usize,
    },
    /// They have another form.
    #[error(
        "is no list of operators: it must be JSON such as {{\"mainnet\": {{\"aggregators\": {{\"https://…\": {{\"operator\": \"…\"}}}}}}}}"
    )]
    Form(#[source] serde_json::Error),
}

/// Whatever else stands in it does not matter.
type Object = serde_json::Map<String, serde_json::Value>;

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    operator: String,
    /// Whether it answered when the list was made.
    functional: Option<bool>,
}

impl Operators {
    /// Reads a list. Those that did not answer when it was made are left out; entries whose URL is none
    /// are passed over, and counted.
    ///
    /// # Errors
    /// [`InvalidOperators`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidOperators> {
        if bytes.len() > MAX_OPERATORS_DOCUMENT {
            return Err(InvalidOperators::TooLong { length: bytes.len() });
        }
        let document: Object = serde_json::from_slice(bytes).map_err(InvalidOperators::Form)?;
        let mut skipped = 0;
        let mut lists = |network| Lists::take(&document, network, &mut skipped);
        let (mainnet, testnet) = (lists("mainnet")?, lists("testnet")?);
        Ok(Self { mainnet, testnet, skipped })
    }

    /// Aggregators that answered when the list was made; no name and no URL twice.
    pub fn aggregators(&self, network: Network) -> &[NetworkOperator] {
        &self.of(network).aggregators
    }

    /// Publishers; the list does not say whether they answer.
    pub fn publishers(&self, network: Network) -> &[NetworkOperator] {
        &self.of(network).publishers
    }

    /// Entries that were passed over.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    fn of(&self, network: Network) -> &Lists {
        match network {
            Network::Mainnet => &self.mainnet,
            Network::Testnet => &self.testnet,
        }
    }
}

impl Lists {
    fn take(
        document: &Object,
        network: &str,
        skipped: &mut usize,
    ) -> Result<Self, InvalidOperators> {
        let network: Object = part(document, network)?.unwrap_or_default();
        let mut list = |kind| Ok(entries(part(&network, kind)?.unwrap_or_default(), skipped));
        Ok(Self { aggregators: list("aggregators")?, publishers: list("publishers")? })
    }
}

fn part<T: DeserializeOwned>(of: &Object, name: &str) -> Result<Option<T>, InvalidOperators> {
    let part = of.get(name).cloned().map(serde_json::from_value);
    part.transpose().map_err(InvalidOperators::Form)
}

fn entries(document: BTreeMap<String, Entry>, skipped: &mut usize) -> Vec<NetworkOperator> {
    let (mut names, mut urls) = (HashSet::new(), HashSet::new());
    let mut taken = Vec::new();
    for (url, entry) in document {
        if entry.functional == Some(false) {
            continue;
        }
        let new = url.parse::<BaseUrl>().ok().filter(|url| urls.insert(url.to_string()));
        let named = new.filter(|_| taken.len() < MAX_ENTRIES).and_then(|url| {
            let mut names_of =
                [false, true].into_iter().filter_map(|port| networks::name(&url, port));
            let name = names_of.find(|name| names.insert(name.clone()))?;
            Some(NetworkOperator { name, operator: words(&entry.operator), url })
        });
        match named {
            Some(named) => taken.push(named),
            None => *skipped += 1,
        }
    }
    taken
}

/// Without what is invisible or endless.
fn words(text: &str) -> String {
    let visible = text.chars().filter(|c| !c.is_control());
    visible.take(MAX_OPERATOR).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &str = r#"{
      "mainnet": {"aggregators": {
        "https://b.example": {"operator": "B\u0007 & Sons", "cache": true, "functional": true},
        "https://a.example": {"operator": "A"},
        "https://dead.example": {"operator": "D", "cache": false, "functional": false},
        "https://a.example:9000": {"operator": "A, again"},
        "https://a.example/": {"operator": "the same"},
        "ftp://c.example": {"operator": "C"}
      }},
      "testnet": {"publishers": {"http://[2001:db8::1]:9001": {"operator": "P", "new": [1]}}},
      "devnet": {}
    }"#;

    #[test]
    fn those_that_answer_are_taken_each_under_a_name_of_its_own() {
        let operators = Operators::parse(LIST.as_bytes()).unwrap();
        let told: Vec<_> = operators
            .aggregators(Network::Mainnet)
            .iter()
            .map(|one| format!("{} {} {}", one.name, one.url, one.operator))
            .collect();
        let expected = [
            "a.example https://a.example A",
            "a.example-9000 https://a.example:9000 A, again",
            "b.example https://b.example B & Sons",
        ];
        assert_eq!(told, expected);
        assert_eq!(operators.publishers(Network::Testnet)[0].name.as_str(), "2001-db8--1-");
        assert_eq!(operators.skipped(), 2, "what is there twice, and what is no URL");
    }

    #[test]
    fn what_has_another_form_or_no_end_is_refused() {
        for text in ["", "[]", "{\"mainnet\": []}", "{\"mainnet\": {\"aggregators\": {\"x\": 1}}}"]
        {
            assert!(Operators::parse(text.as_bytes()).is_err(), "{text}");
        }
        let long = vec![b' '; MAX_OPERATORS_DOCUMENT + 1];
        assert!(matches!(Operators::parse(&long), Err(InvalidOperators::TooLong { .. })));
        assert_eq!(Operators::parse(b"{}").unwrap(), Operators::default());
    }

    fn document() -> impl Strategy<Value = serde_json::Value> {
        let url = prop_oneof![
            "https?://[a-z0-9.:\\[\\]-]{1,80}(:[0-9]{1,6})?(/[a-z]{0,3})?",
            any::<String>(),
        ];
        let entry = (any::<String>(), any::<Option<bool>>()).prop_map(|(operator, functional)| {
            serde_json::json!({"operator": operator, "functional": functional})
        });
        prop::collection::vec((url, entry), 0..20).prop_map(|entries| {
            let entries: serde_json::Map<_, _> = entries.into_iter().collect();
            serde_json::json!({"mainnet": {"aggregators": entries}})
        })
    }

    proptest! {
        #[test]
        fn every_entry_is_named_left_out_or_counted(document in document()) {
            let operators = Operators::parse(document.to_string().as_bytes()).unwrap();
            let entries = document["mainnet"]["aggregators"].as_object().unwrap();
            let dead = entries.values().filter(|entry| entry["functional"] == false).count();
            let taken = operators.aggregators(Network::Mainnet);
            prop_assert_eq!(taken.len() + dead + operators.skipped(), entries.len());
            let names: HashSet<_> = taken.iter().map(|one| &one.name).collect();
            prop_assert_eq!(names.len(), taken.len());
            for one in taken {
                prop_assert!(one.operator.chars().count() <= MAX_OPERATOR);
                prop_assert_eq!(one.url.to_string().parse::<BaseUrl>().unwrap(), one.url.clone());
            }
        }

        #[test]
        fn any_bytes_are_a_list_or_refused(bytes: Vec<u8>) {
            let _read_or_refused = Operators::parse(&bytes).is_ok();
        }
    }
}
