//! What an API key may do.

use std::{fmt, str::FromStr};

/// One thing that an API key may do.
///
/// A scope to write implies the one to read the same: whoever pins sees what is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// See analytics.
    AnalyticsRead,
    /// Read the audit log.
    AuditRead,
    /// See what is withheld.
    BlocksRead,
    /// Withhold ids.
    BlocksWrite,
    /// Have blobs fetched before anybody asks.
    CachePreload,
    /// Remove ids from every edge.
    CachePurge,
    /// Remove everything from every edge.
    CachePurgeAll,
    /// See receipts, and what nodes hold of an id.
    CacheRead,
    /// Follow the event log.
    EventsRead,
    /// See files and vaults.
    FilesRead,
    /// Upload, change and delete files.
    FilesWrite,
    /// Make and end hooks.
    HooksAdmin,
    /// Make, change and revoke keys.
    KeysAdmin,
    /// Prove that all nodes hear, and what else is done to nodes.
    NodesAdmin,
    /// See nodes and the control plane's own state.
    NodesRead,
    /// See origins and how they are doing.
    OriginsRead,
    /// Change and probe origins.
    OriginsWrite,
    /// See what is pinned.
    PinsRead,
    /// Pin and unpin.
    PinsWrite,
}

/// Any number of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scopes {
    /// A bit for each, at the place that it has in [`Scope::ALL`].
    bits: u32,
    /// Whether it is everything, also what later versions add.
    is_all: bool,
}

/// A text that is no [`Scope`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is {text:?}, which is no scope; they are *, {}", list())]
pub struct InvalidScope {
    text: String,
}

fn list() -> String {
    Scope::ALL.map(Scope::as_str).join(", ")
}

impl Scope {
    /// Each, in the order of their names.
    pub const ALL: [Self; 19] = [
        Self::AnalyticsRead,
        Self::AuditRead,
        Self::BlocksRead,
        Self::BlocksWrite,
        Self::CachePreload,
        Self::CachePurge,
        Self::CachePurgeAll,
        Self::CacheRead,
        Self::EventsRead,
        Self::FilesRead,
        Self::FilesWrite,
        Self::HooksAdmin,
        Self::KeysAdmin,
        Self::NodesAdmin,
        Self::NodesRead,
        Self::OriginsRead,
        Self::OriginsWrite,
        Self::PinsRead,
        Self::PinsWrite,
    ];

    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AnalyticsRead => "analytics:read",
            Self::AuditRead => "audit:read",
            Self::BlocksRead => "blocks:read",
            Self::BlocksWrite => "blocks:write",
            Self::CachePreload => "cache:preload",
            Self::CachePurge => "cache:purge",
            Self::CachePurgeAll => "cache:purge_all",
            Self::CacheRead => "cache:read",
            Self::EventsRead => "events:read",
            Self::FilesRead => "files:read",
            Self::FilesWrite => "files:write",
            Self::HooksAdmin => "hooks:admin",
            Self::KeysAdmin => "keys:admin",
            Self::NodesAdmin => "nodes:admin",
            Self::NodesRead => "nodes:read",
            Self::OriginsRead => "origins:read",
            Self::OriginsWrite => "origins:write",
            Self::PinsRead => "pins:read",
            Self::PinsWrite => "pins:write",
        }
    }

    /// What it implies.
    const fn implied(self) -> Option<Self> {
        match self {
            Self::BlocksWrite => Some(Self::BlocksRead),
            Self::CachePurgeAll => Some(Self::CachePurge),
            Self::FilesWrite => Some(Self::FilesRead),
            Self::NodesAdmin => Some(Self::NodesRead),
            Self::OriginsWrite => Some(Self::OriginsRead),
            Self::PinsWrite => Some(Self::PinsRead),
            _ => None,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl Scopes {
    /// None.
    pub const NONE: Self = Self { bits: 0, is_all: false };

    /// Everything.
    pub const ALL: Self = Self { bits: 0, is_all: true };

    /// Whether it has this one, by name or since another implies it.
    pub fn has(self, scope: Scope) -> bool {
        let implies = |of: Scope| self.bits & of.bit() != 0 && of.implied() == Some(scope);
        self.is_all || self.bits & scope.bit() != 0 || Scope::ALL.into_iter().any(implies)
    }

    /// The first scope of others that it lacks; none if it has all that they have. What those of later
    /// versions add is lacked unless it has everything.
    pub fn lacks(self, others: Self) -> Option<&'static str> {
        if others.is_all {
            return (!self.is_all).then_some("*");
        }
        let lacked = |scope: &Scope| others.bits & scope.bit() != 0 && !self.has(*scope);
        Scope::ALL.into_iter().find(lacked).map(Scope::as_str)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// As texts, in order.
    pub fn names(self) -> Vec<&'static str> {
        if self.is_all {
            return vec!["*"];
        }
        let given = Scope::ALL.into_iter().filter(|scope| self.bits & scope.bit() != 0);
        given.map(Scope::as_str).collect()
    }

    /// Adds what a text names; "*" is everything.
    ///
    /// # Errors
    /// [`InvalidScope`].
    pub fn add(&mut self, text: &str) -> Result<(), InvalidScope> {
        if text == "*" {
            *self = Self::ALL;
        } else if !self.is_all {
            self.bits |= text.parse::<Scope>()?.bit();
        } else {
            text.parse::<Scope>()?;
        }
        Ok(())
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let invalid = || InvalidScope { text: text.chars().take(40).collect() };
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(invalid)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Separated by spaces, in order.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let bits = scopes.into_iter().fold(0, |bits, scope| bits | scope.bit());
        Self { bits, is_all: false }
    }
}

/// Those that texts name, separated by spaces.
impl FromStr for Scopes {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let mut scopes = Self::NONE;
        text.split_whitespace().try_for_each(|name| scopes.add(name))?;
        Ok(scopes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scopes() -> impl Strategy<Value = Scopes> {
        let some = proptest::sample::subsequence(Scope::ALL.to_vec(), 0..=Scope::ALL.len());
        prop_oneof![some.prop_map(Scopes::from_iter), Just(Scopes::ALL)]
    }

    proptest! {
        #[test]
        fn printed_scopes_are_read_as_the_same(scopes in scopes()) {
            prop_assert_eq!(scopes.to_string().parse::<Scopes>().unwrap(), scopes);
        }

        #[test]
        fn nobody_has_more_than_what_is_lacked_by_nobody(one in scopes(), other in scopes()) {
            match one.lacks(other) {
                None => Scope::ALL.into_iter().for_each(|it| assert!(one.has(it) || !other.has(it))),
                Some("*") => assert!(other == Scopes::ALL && one != Scopes::ALL),
                Some(name) => assert!(!one.has(name.parse().unwrap())),
            }
        }

        #[test]
        fn any_text_is_scopes_or_none(text: String) {
            let _some_or_none = text.parse::<Scopes>();
        }
    }

    #[test]
    fn who_writes_reads_and_who_may_all_may_what_comes_later() {
        let pins: Scopes = "pins:write".parse().unwrap();
        assert!(pins.has(Scope::PinsRead) && !pins.has(Scope::OriginsRead));
        assert_eq!(pins.lacks(Scopes::ALL), Some("*"));
        assert_eq!(Scopes::ALL.lacks(Scopes::ALL), None);
        assert!("purge".parse::<Scopes>().unwrap_err().to_string().contains("cache:purge,"));
    }

    #[test]
    fn names_are_in_order_and_each_has_a_place_of_its_own() {
        assert!(Scope::ALL.map(Scope::as_str).is_sorted());
        for (place, scope) in Scope::ALL.into_iter().enumerate() {
            assert_eq!(scope as usize, place);
        }
    }
}
