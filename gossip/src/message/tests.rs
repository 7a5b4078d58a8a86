use proptest::{collection::vec, prelude::*};

use super::*;

fn place() -> impl Strategy<Value = Position> {
    (any::<u64>(), 0..u64::MAX / 2).prop_map(|(epoch, seq)| Position { epoch, seq })
}

/// Ranges above `above`, in order and apart.
fn apart(above: u64, steps: &[(u8, u8)]) -> Vec<SeqRange> {
    let mut end = above;
    let steps = steps.iter().map(|&(gap, more)| {
        let first = end + 2 + u64::from(gap);
        end = first + u64::from(more);
        SeqRange { first, last: end }
    });
    steps.collect()
}

fn applied() -> impl Strategy<Value = Applied> {
    (place(), vec(any::<(u8, u8)>(), 0..MAX_TOLD))
        .prop_map(|(upto, steps)| Applied { upto, above: apart(upto.seq, &steps) })
}

fn standing() -> impl Strategy<Value = Standing> {
    (
        "[a-z][a-z0-9-]{0,62}",
        "[a-z][a-z0-9-]{0,62}",
        any::<(u64, bool)>(),
        0..600_000_u64,
        applied(),
    )
        .prop_map(|(node, region, (incarnation, is_strict), lease, applied)| Standing {
            node: node.parse().unwrap(),
            region: region.parse().unwrap(),
            incarnation,
            is_strict,
            lease: Time::from_millis(lease),
            applied,
        })
}

fn bytes(length: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), length).prop_map(Bytes::from)
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        vec(bytes(1..300), 1..4).prop_map(Message::Push),
        standing().prop_map(Message::Ack),
        (applied(), any::<bool>())
            .prop_map(|(applied, is_answer)| Message::Digest { applied, is_answer }),
        (any::<u64>(), vec(any::<(u8, u8)>(), 1..MAX_TOLD))
            .prop_map(|(epoch, steps)| Message::Want { epoch, missing: apart(0, &steps) }),
        (any::<u64>(), standing()).prop_map(|(nonce, standing)| Message::Poll { nonce, standing }),
        (any::<u64>(), place(), bytes(64..65), bytes(4..5)).prop_map(
            |(nonce, head, signature, key_hint)| Message::Lease(Lease {
                nonce,
                head,
                signature,
                key_hint
            })
        ),
        place().prop_map(Message::Head),
        bytes(1..MAX_NOTE + 1).prop_map(Message::Note),
    ]
}

proptest! {
    #[test]
    fn encode_then_decode_gives_the_same_message_and_it_fits(message in message()) {
        let encoded = message.encode();
        prop_assert!(encoded.len() <= MAX_MESSAGE, "{}", encoded.len());
        prop_assert_eq!(Message::decode(encoded.into()).unwrap(), message);
    }

    #[test]
    fn any_bytes_are_a_message_in_order_or_refused(bytes: Vec<u8>) {
        if let Ok(message) = Message::decode(bytes.into()) {
            prop_assert_eq!(Message::decode(message.encode().into()).unwrap(), message);
        }
    }

    #[test]
    fn a_message_with_any_byte_changed_is_refused_or_in_order(
        message in message(),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut encoded = message.encode();
        let at = at.index(encoded.len());
        encoded[at] = byte;
        if let Ok(Message::Ack(Standing { applied, .. })) = Message::decode(encoded.into()) {
            let mut end = applied.upto.seq;
            for range in applied.above {
                prop_assert!(range.first > end && range.last >= range.first);
                end = range.last;
            }
        }
    }

    #[test]
    fn packing_counts_as_pushes_pack(frames in vec(bytes(1..MAX_FRAME + 1), 0..40), most in 0..9_usize) {
        let mut packing = Packing::new(most);
        let fits = frames.iter().take_while(|frame| packing.add(frame.len())).count();
        prop_assert!(pushes(&frames[..fits]).len() <= most);
        if fits < frames.len() {
            prop_assert!(pushes(&frames[..=fits]).len() > most);
        }
    }

    #[test]
    fn pushes_hold_every_frame_once_in_order_and_fit(frames in vec(bytes(1..MAX_FRAME + 1), 0..40)) {
        let mut out = Vec::new();
        for message in pushes(&frames) {
            prop_assert!(message.encode().len() <= MAX_MESSAGE);
            let Message::Push(frames) = message else { panic!("a push") };
            out.extend(frames);
        }
        prop_assert_eq!(out, frames);
    }
}

#[test]
fn ranges_out_of_order_and_frames_too_long_are_refused() {
    let range = |first, last| gossip::Range { first, last };
    let wants = [
        vec![],
        vec![range(5, 4)],
        vec![range(0, 4)],
        vec![range(5, 9), range(9, 12)],
        vec![range(5, 9), range(1, 2)],
        vec![range(1, u64::MAX)],
        (1..40).map(|n| range(3 * n, 3 * n)).collect(),
    ];
    for missing in wants {
        let wire = gossip::Message { kind: Some(Kind::Want(gossip::Want { epoch: 1, missing })) };
        Message::decode(wire.encode_to_vec().into()).unwrap_err();
    }
    for frames in [vec![], vec![Bytes::new()], vec![Bytes::from(vec![0; MAX_FRAME + 1])]] {
        let wire = gossip::Message { kind: Some(Kind::Push(gossip::Push { frames })) };
        Message::decode(wire.encode_to_vec().into()).unwrap_err();
    }
}
