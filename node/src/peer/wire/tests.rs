use proptest::prelude::*;

use super::*;

fn any_position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(epoch, seq)| Position { epoch, seq })
}

fn any_ask() -> impl Strategy<Value = Ask> {
    let part = prop_oneof![
        Just(Part::Whole),
        Just(Part::Probe),
        Just(Part::Beginning),
        any::<u32>().prop_map(Part::Slice),
    ];
    let numbers = any::<(u64, Option<u64>, u64, u64, u32)>();
    (any::<[u8; 32]>(), part, numbers, any_position()).prop_map(|(id, part, numbers, least)| {
        let (number, total, slice, start, patience) = numbers;
        let needs_total = matches!(part, Part::Slice(_) | Part::Beginning);
        Ask {
            key: Key { id: BlobId::from_bytes(id), part },
            total: total.or(needs_total.then_some(number)),
            slice,
            start,
            least,
            patience: Duration::from_millis(u64::from(patience)),
        }
    })
}

fn any_refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::Malformed),
        (any::<bool>(), any::<u32>(), any_position()).prop_map(|(is_blocked, age, token)| {
            let absence = if is_blocked { Absence::Blocked } else { Absence::NotFound };
            Refusal::Absent { absence, token, age: Duration::from_millis(u64::from(age)) }
        }),
        Just(Refusal::Behind),
        (any::<u64>(), any_position()).prop_map(|(total, token)| Refusal::Large { total, token }),
        Just(Refusal::Withheld),
        Just(Refusal::Failed),
        prop::option::of(1..9_999u64)
            .prop_map(|after| Refusal::Busy(after.map(Duration::from_secs))),
        Just(Refusal::Slow),
    ]
}

fn node() -> NodeId {
    "us-west-2".parse().unwrap()
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_meant(ask in any_ask()) {
        let (head, _) = ask.to_request(&node()).into_parts();
        prop_assert_eq!(Ask::of_request(&head), Ok((ask, node())));
    }

    #[test]
    fn an_answer_is_read_as_it_was_meant(
        total: u64,
        token in any_position(),
        age in any::<u32>(),
        refusal in any_refusal(),
    ) {
        let age = Duration::from_millis(u64::from(age));
        let found = Found { total, token, age, source: Source::Redis };
        let mut headers = HeaderMap::new();
        found.write(&mut headers);
        prop_assert_eq!(answer(StatusCode::OK, &headers), Ok(Ok(found)));
        let mut headers = HeaderMap::new();
        refusal.write(&mut headers);
        prop_assert_eq!(answer(refusal.status(), &headers), Ok(Err(refusal)));
    }

    #[test]
    fn no_request_and_no_answer_make_the_reader_panic(
        path in "/(v1|v2)?/?[ -~&&[^\"<>\\\\^`{|}#?]]{0,60}",
        headers in prop::collection::vec((prop::sample::select(
            vec![NODE, LEAST, START, SLICE, TOTAL, PATIENCE, TOKEN, AGE, SOURCE, ATTESTATION],
        ), "[ -~]{0,200}"), 0..10),
        status in 100u16..600,
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
        }
        let mut request = Request::new(());
        if let Ok(uri) = path.parse() {
            *request.uri_mut() = uri;
        }
        *request.headers_mut() = map.clone();
        let (head, ()) = request.into_parts();
        if let Ok((ask, node)) = Ask::of_request(&head) {
            let (again, _) = ask.to_request(&node).into_parts();
            prop_assert_eq!(Ask::of_request(&again), Ok((ask, node)));
        }
        let status = StatusCode::from_u16(status).unwrap();
        if let Ok(Err(refusal)) = answer(status, &map) {
            prop_assert_eq!(refusal.status(), status);
        }
        if let Some(bytes) = attestation(&map) {
            prop_assert_eq!(attestation(&trailers(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn an_attestation_travels_as_it_is(bytes in prop::collection::vec(any::<u8>(), LENGTH)) {
        let bytes: [u8; LENGTH] = bytes.try_into().unwrap();
        prop_assert_eq!(attestation(&trailers(&bytes)), Some(bytes));
    }
}

#[test]
fn a_slice_without_the_length_of_its_blob_is_refused() {
    let ask = Ask {
        key: Key { id: BlobId::from_bytes([7; 32]), part: Part::Slice(3) },
        total: None,
        slice: 4 << 20,
        start: 0,
        least: Position::ORIGIN,
        patience: Duration::from_secs(1),
    };
    let (head, _) = ask.to_request(&node()).into_parts();
    assert_eq!(Ask::of_request(&head), Err(Odd(TOTAL)));
}
