use std::fs::{self, Permissions};

use base64::prelude::{
    BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD,
};
use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;

fn file(text: impl AsRef<[u8]>, mode: u32) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
    file
}

fn hex(key: [u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_key_and_a_password_are_read_from_files_of_their_owner_and_group() {
    for mode in [0o400, 0o600, 0o640, 0o660] {
        let key = file(format!("{}\n", "0f".repeat(32)), mode);
        assert_eq!(Key::read(key.path()).unwrap().expose(), &[15; 32]);
        let password = file("  correct horse battery staple \r\n", mode);
        let password = Secret::read(password.path()).unwrap();
        assert_eq!(password.expose(), "correct horse battery staple");
    }
}

#[test]
fn another_key_must_differ_from_the_one_in_use() {
    let (one, other) = (file("0f".repeat(32), 0o600), file("f0".repeat(32), 0o600));
    let present = Key::read(one.path()).unwrap();
    assert_eq!(Key::read_other(other.path(), &present).unwrap().expose(), &[0xf0; 32]);
    // The same bytes in another alphabet are the same key.
    let same = file(BASE64_STANDARD.encode([0x0f; 32]), 0o600);
    let told = Key::read_other(same.path(), &present).unwrap_err().to_string();
    assert!(told.contains("holds the key that is in use"), "{told}");
    let malformed = file("0f", 0o600);
    assert!(matches!(
        Key::read_other(malformed.path(), &present),
        Err(SecretError::Unusable { .. })
    ));
}

#[test]
fn a_file_that_is_open_to_others_is_refused_with_the_remedy() {
    for mode in [0o644, 0o602, 0o601] {
        let file = file("secret", mode);
        let told = Secret::read(file.path()).unwrap_err().to_string();
        let remedy = format!("chmod o= {}", file.path().display());
        assert!(told.contains(&format!("mode {mode:04o}")) && told.ends_with(&remedy), "{told}");
        assert!(matches!(Key::read(file.path()), Err(SecretError::Open { .. })));
    }
}

#[test]
fn what_is_wrong_is_told_with_the_file_and_the_remedy_and_without_the_secret() {
    let long = "a".repeat(MAX_FILE + 1);
    for (text, words) in [
        (&b"hunter2"[..], "openssl rand -hex 32"),
        (&b""[..], "openssl rand -hex 32"),
        (&b"\xff\xfe"[..], "UTF-8"),
        (long.as_bytes(), "larger than 4 KiB"),
    ] {
        let file = file(text, 0o600);
        let error = Key::read(file.path()).unwrap_err();
        let (told, debug) = (error.to_string(), format!("{error:?}"));
        assert!(told.starts_with(&file.path().display().to_string()), "{told}");
        assert!(told.contains(words), "{told}");
        assert!(!told.contains("hunter2") && !debug.contains("hunter2"));
    }
    for text in ["", " \n", "two\nlines", "nul\0"] {
        let error = Secret::read(file(text, 0o600).path()).unwrap_err();
        assert!(error.to_string().ends_with("must hold one line of text"), "{text:?}: {error}");
    }
    let error = Key::read(Path::new("/no/such.key")).unwrap_err();
    assert!(error.to_string().contains("/no/such.key"), "{error}");
}

#[test]
fn secrets_do_not_show_in_logs() {
    assert_eq!(format!("{:?}", Key([7; 32])), "Key(…)");
    assert_eq!(format!("{:?}", Secret("hunter2".into())), "Secret(…)");
}

proptest! {
    #[test]
    fn a_key_is_read_however_it_is_written(key: [u8; 32], around in "[ \t\r\n]{0,3}") {
        let written = [
            hex(key),
            hex(key).to_uppercase(),
            BASE64_STANDARD.encode(key),
            BASE64_STANDARD_NO_PAD.encode(key),
            BASE64_URL_SAFE.encode(key),
            BASE64_URL_SAFE_NO_PAD.encode(key),
        ];
        for text in written {
            let read = Key::parse(&format!("{around}{text}{around}"));
            prop_assert_eq!(read.as_ref().map(Key::expose), Some(&key), "{}", text);
        }
    }

    #[test]
    fn keys_are_equal_if_all_their_bits_are(key: [u8; 32], bit in 0_usize..256) {
        let mut other = key;
        prop_assert!(Key(key) == Key(other));
        other[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Key(key) != Key(other));
    }

    #[test]
    fn no_text_makes_it_panic(text: String, near in "[0-9a-zA-Z+/=_é-]{40,66}") {
        prop_assert!(Key::parse(&text).is_none());
        if let Some(key) = Key::parse(&near) {
            let canonical = [hex(key.0), BASE64_URL_SAFE_NO_PAD.encode(key.0)];
            let plain = near.trim_end_matches('=').replace('+', "-").replace('/', "_");
            prop_assert!(canonical.contains(&plain) || canonical.contains(&near.to_lowercase()));
        }
        if let Some(secret) = Secret::parse(&text) {
            prop_assert_eq!(secret.expose(), text.trim());
        }
    }
}
