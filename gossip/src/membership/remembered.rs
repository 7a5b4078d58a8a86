//! Whom a chitchat that died knew.

use tokio::time::Instant;

use super::{GRACE, Members};
use crate::member::Member;

/// Members to ask first, besides the configured seeds.
const SEEDS: usize = 16;

/// The last members that were published, for as long as chitchat remembers the dead. Without them an
/// issuer would have nobody to push to, and an edge nobody to tell, until they are found again.
#[derive(Debug)]
pub(crate) struct Remembered {
    members: Members,
    since: Instant,
}

impl Default for Remembered {
    fn default() -> Self {
        Self::from(Members::from([]))
    }
}

impl From<Members> for Remembered {
    fn from(members: Members) -> Self {
        Self { members, since: Instant::now() }
    }
}

impl Remembered {
    /// Some that were live.
    pub(crate) fn seeds(&self) -> impl Iterator<Item = String> {
        let live = self.members.iter().filter(|member| member.is_live);
        live.take(SEEDS).map(|member| member.address.to_string())
    }

    /// `members`, and whoever is remembered and not among them. Both are ordered by name.
    pub(crate) fn complete(&self, mut members: Vec<Member>) -> Vec<Member> {
        if self.since.elapsed() >= GRACE {
            return members;
        }
        for member in &*self.members {
            if let Err(at) = members.binary_search_by(|known| known.node.cmp(&member.node)) {
                members.insert(at, Member { is_live: false, ..member.clone() });
            }
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Role;

    fn member(name: &str, is_live: bool) -> Member {
        Member {
            node: name.parse().unwrap(),
            region: "here".parse().unwrap(),
            address: "127.0.0.1:9".parse().unwrap(),
            peer: None,
            role: Role::Edge,
            is_live,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_are_not_found_again_are_known_as_dead_for_the_grace_period() {
        let remembered = Remembered::from(Members::from([member("a", true), member("c", true)]));
        let found = vec![member("b", true), member("c", true)];
        let completed = remembered.complete(found.clone());
        assert_eq!(completed, [member("a", false), member("b", true), member("c", true)]);
        tokio::time::advance(GRACE).await;
        assert_eq!(remembered.complete(found.clone()), found);
    }
}
