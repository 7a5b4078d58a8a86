//! The services read as others expect of gRPC.

use std::path::Path;

use wcdn_tests::buf;

fn proto() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto"))
}

#[test]
fn a_linter_of_proto_files_finds_nothing_wrong() {
    assert_eq!(buf::lint(proto()), "");
}

#[test]
fn it_would_find_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(proto().join("buf.yaml"), folder.path().join("buf.yaml")).unwrap();
    let file = folder.path().join("proto/wcdn/wrong/v1/wrong.proto");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "syntax = \"proto3\";\npackage wcdn.wrong.v1;\nmessage wrong {}\n")
        .unwrap();
    let found = buf::lint(folder.path());
    assert!(found.contains("should be PascalCase"), "{found}");
}
