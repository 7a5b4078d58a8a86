//! Ids and quilts as the Walrus reference encoder makes them.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests are tests; the generators are defined modulo 256"
)]

use bytes::Bytes;
use serde_json::Value;
use wcdn_walrus::{
    BlobId, Encoding, QuiltPatchId, SliverHashes, blob_id,
    quilt::{self, NewPatch, QuiltIndex},
};

fn file() -> Value {
    serde_json::from_str(include_str!("vectors/blob_ids.json")).unwrap()
}

fn linear(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 + 7) as u8).collect()
}

fn xorshift(mut x: u64, length: usize) -> Vec<u8> {
    let next = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn encoding(vector: &Value) -> Encoding {
    Encoding::new(u16::try_from(number(vector, "n_shards")).unwrap()).unwrap()
}

/// The input of a vector, in slices of an odd length.
fn input(vector: &Value) -> Vec<Bytes> {
    let length = usize::try_from(number(vector, "length")).unwrap();
    let described = text(vector, "input");
    let bytes = match described {
        "zero bytes" => Vec::new(),
        "ASCII 'hello world' (11 bytes, no newline)" => b"hello world".to_vec(),
        _ if described.contains("xorshift64") => xorshift(0x9E37_79B9_7F4A_7C15, length),
        _ => linear(length),
    };
    assert_eq!(bytes.len(), length, "{described}");
    bytes.chunks(9_973).map(Bytes::copy_from_slice).collect()
}

/// 32 bytes read as a little-endian number, in decimal, as explorers show it.
fn decimal(id: &BlobId) -> String {
    let mut digits = vec![0_u8];
    for byte in id.as_bytes().iter().rev() {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) * 256;
            *digit = u8::try_from(carry % 10).unwrap();
            carry /= 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap());
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

#[test]
fn every_blob_has_the_id_the_reference_encoder_gives_it() {
    for vector in file()["vectors"].as_array().unwrap() {
        let name = text(vector, "name");
        let id = blob_id(encoding(vector), &input(vector)).unwrap();
        assert_eq!(id.to_string(), text(vector, "blob_id"), "{name}");
        assert_eq!(hex(id.as_bytes()), text(vector, "blob_id_hex"), "{name}");
        assert_eq!(decimal(&id), text(vector, "blob_id_u256_decimal"), "{name}");
    }
}

#[test]
fn sizes_and_sliver_hashes_agree_with_the_reference_encoder() {
    for vector in file()["vectors"].as_array().unwrap() {
        let (name, encoding) = (text(vector, "name"), encoding(vector));
        let length = number(vector, "length");
        let size = encoding.symbol_size(length).unwrap();
        assert_eq!(size as u64, number(vector, "symbol_size"), "{name}");
        assert_eq!(encoding.encoded_len(length), Ok(number(vector, "encoded_length")), "{name}");
        let input = input(vector);
        let hashes = SliverHashes::compute(encoding, &input).unwrap();
        assert_eq!(hex(&hashes.root()), text(vector, "merkle_root_hex"), "{name}");
        for (pair, of) in [(0, "pair0"), (encoding.n_shards() - 1, "last_pair")] {
            let (primary, secondary) = hashes.pair(pair).unwrap();
            assert_eq!(hex(&primary), text(vector, &format!("{of}_primary_hash_hex")), "{name}");
            assert_eq!(
                hex(&secondary),
                text(vector, &format!("{of}_secondary_hash_hex")),
                "{name}"
            );
        }
        assert_eq!(hashes.check(&input), Ok(()), "{name}");
    }
}

#[test]
fn quilts_are_built_and_read_as_the_reference_encoder_does() {
    for vector in file()["quilt_vectors"].as_array().unwrap() {
        let encoding = encoding(vector);
        let built = quilt::build(encoding, quilt_input(vector)).unwrap();
        assert_eq!(built.blob.len() as u64, number(vector, "quilt_len"));
        if let Some(bytes) = vector["quilt_bytes_hex"].as_str() {
            assert_eq!(hex(&built.blob), bytes);
        }
        let slices = [built.blob.clone()];
        let id = blob_id(encoding, &slices).unwrap();
        assert_eq!(id.to_string(), text(vector, "quilt_id"));
        let index = QuiltIndex::read(encoding, &slices).unwrap();
        assert_eq!(index, built.index);
        for expected in vector["patches"].as_array().unwrap() {
            let patch = index.find(text(expected, "identifier")).unwrap();
            assert_eq!(patch.id(id).to_string(), text(expected, "quilt_patch_id"));
            assert_eq!(u64::from(patch.start), number(expected, "start_index"));
            assert_eq!(u64::from(patch.end), number(expected, "end_index"));
            assert_eq!(serde_json::to_value(&patch.tags).unwrap(), expected["tags"]);
            let by_id: QuiltPatchId = text(expected, "quilt_patch_id").parse().unwrap();
            let read = quilt::read_patch(encoding, &slices, by_id.start(), by_id.end()).unwrap();
            assert_eq!(read.data.len() as u64, number(expected, "data_len"));
            assert_eq!(read.identifier, patch.identifier);
        }
    }
}

fn quilt_input(vector: &Value) -> Vec<NewPatch> {
    let files = vector["inputs"].as_array().unwrap().iter().map(|file| {
        let described = text(file, "data");
        let length = || described.split(' ').next().unwrap().parse().unwrap();
        let data = if let Some(ascii) = described.strip_prefix("ASCII '") {
            ascii.trim_end_matches('\'').as_bytes().to_vec()
        } else if described.contains("linear") {
            linear(length())
        } else {
            xorshift(42, length())
        };
        let tags = serde_json::from_value(file["tags"].clone()).unwrap_or_default();
        NewPatch { identifier: text(file, "identifier").to_owned(), tags, data: data.into() }
    });
    files.collect()
}
