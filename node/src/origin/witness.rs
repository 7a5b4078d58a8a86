//! When what origins say about a blob is believed.

use std::sync::Arc;

use super::Origin;

/// Those who say the same thing that no bytes prove: that there is no such blob, or that it is
/// withheld.
///
/// One alone may be behind or lie, so two that are independent must say it, or one that the
/// operator trusts. Independent are those that answer at different authorities: two names for one
/// aggregator are one witness.
#[derive(Debug, Default)]
pub struct Witnesses {
    authorities: Vec<String>,
    is_trusted: bool,
}

/// Independent origins that must say the same.
const NEEDED: usize = 2;

/// How many witnesses there must be, given who can be asked.
pub fn needed(origins: &[Arc<Origin>]) -> usize {
    let mut all = Witnesses::default();
    origins.iter().for_each(|origin| all.add(origin));
    all.authorities.len().clamp(1, NEEDED)
}

impl Witnesses {
    /// Adds one that says so.
    pub fn add(&mut self, origin: &Origin) {
        self.is_trusted |= origin.is_trusted();
        let authority = origin.authority();
        if !self.authorities.iter().any(|known| known == authority) {
            self.authorities.push(authority.to_owned());
        }
    }

    /// Whether it is believed, where `needed` must say it.
    pub fn suffice(&self, needed: usize) -> bool {
        self.is_trusted || self.authorities.len() >= needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::pool::tests::origins;

    #[tokio::test]
    async fn two_names_for_one_host_are_one_witness() {
        let origins = origins(&["http://a.example", "http://a.example/walrus", "http://b.example"]);
        let mut witnesses = Witnesses::default();
        witnesses.add(&origins[0]);
        witnesses.add(&origins[1]);
        assert!(!witnesses.suffice(needed(&origins)));
        witnesses.add(&origins[2]);
        assert!(witnesses.suffice(needed(&origins)));
        assert_eq!(needed(&origins[..2]), 1, "where nobody else can be asked, one is believed");
        assert!(!Witnesses::default().suffice(needed(&[])), "nobody is no witness");
    }
}
