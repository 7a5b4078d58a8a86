use proptest::prelude::*;

use super::*;

fn code() -> Encoding {
    Encoding::new(10).unwrap()
}

fn files() -> impl Strategy<Value = Vec<NewPatch>> {
    let tags = prop::collection::btree_map("[a-z]{1,12}", "\\PC{0,9}", 0..3);
    let file = (tags, prop::collection::vec(any::<u8>(), 0..600));
    prop::collection::btree_map("[^\\p{C}\\s]{1,20}", file, 1..6).prop_map(|files| {
        let file = |(identifier, (tags, data)): (String, (Tags, Vec<u8>))| NewPatch {
            identifier,
            tags,
            data: data.into(),
        };
        files.into_iter().map(file).collect()
    })
}

proptest! {
    #[test]
    fn every_file_comes_out_as_it_went_in(files in files(), cut in 1usize..300) {
        let built = build(code(), files.clone()).unwrap();
        let quilt: Vec<Bytes> = built.blob.chunks(cut).map(Bytes::copy_from_slice).collect();
        let index = QuiltIndex::read(code(), &quilt).unwrap();
        prop_assert_eq!(&index, &built.index);
        for file in files {
            let found = index.find(&file.identifier).unwrap();
            let patch = read_patch(code(), &quilt, found.start, found.end).unwrap();
            prop_assert_eq!(patch.identifier, file.identifier);
            prop_assert_eq!(&patch.tags, &file.tags);
            prop_assert_eq!(&found.tags, &file.tags);
            prop_assert_eq!(patch.data, file.data);
        }
    }

    #[test]
    fn no_bytes_make_the_readers_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 28 * 20), start: u16, end: u16, plain: bool
    ) {
        if plain {
            bytes[0] = 1;
            bytes[1..5].copy_from_slice(&[60, 0, 0, 0]);
        }
        let quilt = [Bytes::from(bytes)];
        let _read = QuiltIndex::read(code(), &quilt).is_ok();
        let _read = read_patch(code(), &quilt, start % 8, end % 9).is_ok();
    }

    #[test]
    fn a_damaged_quilt_never_makes_the_readers_panic(
        files in files(), at in any::<usize>(), byte: u8
    ) {
        let mut bytes = build(code(), files).unwrap().blob.to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let quilt = [Bytes::from(bytes)];
        if let Ok(index) = QuiltIndex::read(code(), &quilt) {
            for patch in index.patches() {
                let _read = read_patch(code(), &quilt, patch.start, patch.end).is_ok();
            }
        }
    }
}

fn file(identifier: &str) -> NewPatch {
    NewPatch { identifier: identifier.into(), tags: Tags::new(), data: Bytes::from_static(b"x") }
}

#[test]
fn names_that_readers_could_not_ask_for_are_refused() {
    for identifier in ["", "a ", "a\n", "\u{7}"] {
        let refused = build(code(), vec![file(identifier)]);
        assert!(matches!(refused, Err(BuildError::Identifier { .. })), "{identifier:?}");
    }
    let twice = build(code(), vec![file("a"), file("b"), file("a")]).unwrap_err();
    assert_eq!(twice, BuildError::Duplicate { identifier: "a".into() });
}

#[test]
fn more_files_than_columns_are_refused() {
    let files: Vec<_> = (0..7).map(|n| file(&n.to_string())).collect();
    assert_eq!(build(code(), files).unwrap_err(), BuildError::TooMany { count: 7, most: 6 });
    assert_eq!(build(code(), vec![]).unwrap_err(), BuildError::Empty);
}

#[test]
fn a_blob_of_another_length_is_no_quilt() {
    let blob = [Bytes::from_static(b"just a text")];
    assert_eq!(QuiltIndex::read(code(), &blob).unwrap_err(), QuiltError::Shape { length: 11 });
}

#[test]
fn columns_outside_the_quilt_hold_no_file() {
    let quilt = [build(code(), vec![file("a")]).unwrap().blob];
    for (start, end) in [(3, 3), (4, 3), (1, 8), (u16::MAX, u16::MAX)] {
        let refused = read_patch(code(), &quilt, start, end);
        assert!(matches!(refused, Err(QuiltError::Columns { .. })), "{start}..{end}");
    }
}
