use axum::extract::{FromRequest, Multipart};
use proptest::prelude::*;

use super::*;

/// The names and contents of a form's fields, as axum reads them: the real publisher is built on it.
fn read(form: Bytes) -> Vec<(String, Bytes)> {
    let request = Request::put("/")
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=edge")
        .body(form.into())
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut form = Multipart::from_request(request, &()).await.unwrap();
        let mut fields = Vec::new();
        while let Some(field) = form.next_field().await.unwrap() {
            let name = field.name().unwrap().to_owned();
            fields.push((name, field.bytes().await.unwrap()));
        }
        fields
    })
}

fn part(identifier: &str) -> QuiltPart {
    QuiltPart {
        identifier: identifier.to_owned(),
        content: Bytes::from_static(b"content"),
        tags: BTreeMap::new(),
    }
}

proptest! {
    #[test]
    fn files_keep_their_names_and_contents(
        names in prop::collection::vec(r#"[-a-z0-9 "\\%;=é/.]{1,12}"#, 1..4),
        content in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assume!(names.iter().all(|name| !name.ends_with('\\')));
        let content = Bytes::from(content);
        let parts: Vec<_> = names
            .iter()
            .map(|name| QuiltPart { content: content.clone(), ..part(name) })
            .collect();
        let fields: Vec<_> = names.into_iter().map(|name| (name, content.clone())).collect();
        prop_assert_eq!(read(form("edge", &parts).unwrap()), fields);
    }
}

#[test]
fn tags_go_into_a_field_of_their_own() {
    let tagged = QuiltPart {
        tags: BTreeMap::from([("content-type".into(), "text/plain".into())]),
        ..part("a.txt")
    };
    let fields = read(form("edge", &[tagged, part("b.txt")]).unwrap());
    let (name, tags) = fields.last().unwrap();
    assert_eq!((fields.len(), name.as_str()), (3, "_metadata"));
    let expected = serde_json::json!([
        {"identifier": "a.txt", "tags": {"content-type": "text/plain"}}
    ]);
    let tags: serde_json::Value = serde_json::from_slice(tags).unwrap();
    assert_eq!(tags, expected);
}

#[test]
fn names_that_would_arrive_as_others_are_refused_here() {
    for name in ["_metadata", "back\\", "two\nlines", "a\r\nb: c"] {
        let refused = form("edge", &[part(name)]);
        assert!(
            matches!(refused, Err(PublisherError::Identifier { identifier, .. }) if identifier == name),
            "{name:?}"
        );
    }
}

#[test]
fn only_what_differs_from_the_defaults_is_asked_for() {
    assert_eq!(query(&StoreOptions::default()), "");
    let options = StoreOptions {
        epochs: Some(5),
        permanent: true,
        send_object_to: Some("0x2a&share=true".into()),
    };
    let expected = "?epochs=5&permanent=true&send_object_to=0x2a%26share%3Dtrue";
    assert_eq!(query(&options), expected);
}

#[test]
fn no_two_forms_have_the_same_boundary() {
    assert_ne!(boundary(), boundary());
}
