//! What a member tells of itself, as keys and values of chitchat.
//!
//! A value must stay under 1 kB: chitchat takes any, but one that does not fit a message holds up
//! all that come after it. Names are at most 63 bytes, positions 41.

use chitchat::{ChitchatId, NodeState};
use wcdn_proto::Position;

use crate::{
    member::{Member, Role},
    membership::MembershipSettings,
    positions::Positions,
};

const REGION: &str = "region";
const ROLE: &str = "role";
/// `ip:port` where nodes of its region ask it for blobs; not there if they are not to.
const PEER: &str = "peer";
/// `epoch.seq` up to which it has applied everything.
const APPLIED: &str = "applied";
/// `epoch.seq` that it knows to be committed.
const HEAD: &str = "head";

/// What a node tells of itself.
pub(crate) fn of(
    settings: &MembershipSettings,
    role: Role,
    positions: &Positions,
) -> Vec<(String, String)> {
    let MembershipSettings { region, peer, .. } = settings;
    let role = match role {
        Role::Edge => "edge",
        Role::Issuer => "issuer",
    };
    let facts = [
        (REGION, region.to_string()),
        (ROLE, role.to_owned()),
        (APPLIED, print(positions.applied())),
        (HEAD, print(positions.known())),
    ];
    let peer = peer.map(|address| (PEER, address.to_string()));
    facts.into_iter().chain(peer).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What a node has told, if it is enough for a member and makes sense. What is unknown is left
/// aside: a newer version may tell more.
pub(crate) fn read(id: &ChitchatId, state: &NodeState, is_live: bool) -> Option<Member> {
    let role = match state.get(ROLE)? {
        "edge" => Role::Edge,
        "issuer" => Role::Issuer,
        _ => return None,
    };
    Some(Member {
        node: id.node_id.parse().ok()?,
        region: state.get(REGION)?.parse().ok()?,
        address: id.gossip_advertise_addr,
        peer: state.get(PEER).and_then(|address| address.parse().ok()),
        role,
        is_live,
    })
}

/// The highest position that a node says is committed: a hint, and maybe a lie.
pub(crate) fn head(state: &NodeState) -> Option<Position> {
    state.get(HEAD).and_then(parse)
}

fn print(Position { epoch, seq }: Position) -> String {
    format!("{epoch}.{seq}")
}

fn parse(text: &str) -> Option<Position> {
    let (epoch, seq) = text.split_once('.')?;
    Some(Position { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_printed_is_read_again(epoch: u64, seq: u64) {
            let position = Position { epoch, seq };
            prop_assert_eq!(parse(&print(position)), Some(position));
        }

        #[test]
        fn any_text_is_a_position_or_none(text: String) {
            if let Some(position) = parse(&text) {
                prop_assert_eq!(parse(&print(position)), Some(position));
            }
        }
    }
}
