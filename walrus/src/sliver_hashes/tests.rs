use proptest::prelude::*;

use super::*;

fn blob(length: usize) -> Vec<Bytes> {
    let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
    bytes.chunks(100).map(Bytes::copy_from_slice).collect()
}

fn code() -> Encoding {
    Encoding::new(10).unwrap()
}

proptest! {
    #[test]
    fn metadata_survives_the_wire(length in 0usize..5_000) {
        let hashes = SliverHashes::compute(code(), &blob(length)).unwrap();
        let read = SliverHashes::from_bcs(code(), &hashes.blob_id(), &hashes.to_bcs());
        prop_assert_eq!(read, Ok(hashes));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..800)) {
        let id = BlobId::from_bytes([0; 32]);
        prop_assert!(SliverHashes::from_bcs(code(), &id, &bytes).is_err());
    }

    #[test]
    fn a_flipped_bit_of_metadata_is_noticed(at in 32usize..704, bit in 0u8..8) {
        let hashes = SliverHashes::compute(code(), &blob(300)).unwrap();
        let mut bytes = hashes.to_bcs();
        prop_assume!(at < bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(SliverHashes::from_bcs(code(), &hashes.blob_id(), &bytes).is_err());
    }

    #[test]
    fn every_range_of_the_blob_passes_and_a_changed_one_does_not(
        length in 1usize..3_000, start in 0usize..3_000, len in 1usize..500, flip in any::<usize>()
    ) {
        prop_assume!(start < length);
        let whole: Vec<u8> = blob(length).concat();
        let hashes = SliverHashes::compute(code(), &blob(length)).unwrap();
        let range = start as u64..((start + len).min(length)) as u64;
        let rows = hashes.rows_of(&range);
        let row_len = hashes.row_len();
        let from = usize::from(rows.start) * row_len;
        let to = (usize::from(rows.end) * row_len).min(length);
        let mut covering = whole[from..to].to_vec();
        prop_assert_eq!(hashes.check_range(&range, &[covering.clone().into()]), Ok(()));
        let flip = flip % covering.len();
        covering[flip] ^= 1;
        let row = u16::try_from((from + flip) / row_len).unwrap();
        prop_assert_eq!(
            hashes.check_range(&range, &[covering.into()]),
            Err(RowMismatch { row })
        );
    }
}

#[test]
fn a_blob_passes_its_own_check_and_names_the_row_that_differs() {
    let hashes = SliverHashes::compute(code(), &blob(3_000)).unwrap();
    assert_eq!(hashes.check(&blob(3_000)), Ok(()));
    let mut changed = blob(3_000).concat();
    changed[2_999] ^= 1;
    let row = u16::try_from(2_999 / hashes.row_len()).unwrap();
    assert_eq!(hashes.check(&[changed.into()]), Err(RowMismatch { row }));
}

#[test]
fn zeros_in_the_place_of_padding_are_another_blob() {
    let hashes = SliverHashes::compute(code(), &blob(100)).unwrap();
    let longer = [blob(100), vec![Bytes::from_static(&[0])]].concat();
    assert!(hashes.check(&longer).is_err());
    assert_ne!(SliverHashes::compute(code(), &longer).unwrap().blob_id(), hashes.blob_id());
}

#[test]
fn metadata_for_another_number_of_shards_is_refused() {
    let hashes = SliverHashes::compute(Encoding::new(7).unwrap(), &blob(9)).unwrap();
    assert_eq!(
        SliverHashes::from_bcs(code(), &hashes.blob_id(), &hashes.to_bcs()),
        Err(InvalidMetadata::Shards { found: 7, expected: 10 })
    );
}
