//! The Dockerfile.

use std::{collections::BTreeSet, fs, process::Command};

use cargo_metadata::MetadataCommand;
use wcdn_tests::{
    deploy::{file, hadolint},
    program::program,
};

/// What `distroless/cc` has to link with.
const LIBRARIES: [&str; 4] = ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"];

fn dockerfile() -> String {
    // Lines that go on are one.
    fs::read_to_string(file("Dockerfile")).unwrap().replace("\\\n", " ")
}

/// The words after an instruction, wherever it stands.
fn instructions<'a>(text: &'a str, name: &str) -> Vec<Vec<&'a str>> {
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let named = words.filter(|words| words.first() == Some(&name));
    named.map(|words| words[1..].to_vec()).collect()
}

fn programs() -> BTreeSet<String> {
    let mut command = MetadataCommand::new();
    command.manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
    command.no_deps().other_options(["--locked".to_owned(), "--offline".to_owned()]);
    let packages = command.exec().expect("cargo metadata").packages;
    let targets = packages.into_iter().flat_map(|package| package.targets);
    targets.filter(cargo_metadata::Target::is_bin).map(|target| target.name).collect()
}

#[test]
fn a_linter_finds_nothing_wrong() {
    assert_eq!(hadolint(&file("Dockerfile")), "");
}

#[test]
fn what_images_are_given_is_built_before() {
    let (text, programs) = (dockerfile(), programs());
    let build = instructions(&text, "RUN").concat();
    let built: BTreeSet<_> =
        build.iter().filter_map(|word| word.strip_prefix("target/release/")).collect();
    assert!(built.iter().all(|name| programs.contains(*name)), "{built:?}");
    let mut copied = BTreeSet::new();
    for words in instructions(&text, "COPY") {
        if words.iter().any(|word| word.starts_with("--from=build")) {
            copied.extend(words.iter().filter_map(|word| word.strip_prefix("/out/")));
        }
    }
    assert!(copied.remove("state"), "the folder that is written to");
    assert_eq!(copied, built);
}

#[test]
fn the_toolchain_is_that_of_the_repository() {
    let text = dockerfile();
    let toolchain = fs::read_to_string(file("../rust-toolchain.toml")).unwrap();
    let toolchain: toml::Table = toolchain.parse().unwrap();
    let channel = toolchain["toolchain"]["channel"].as_str().unwrap();
    let image = format!("rust:{channel}-slim-bookworm");
    assert_eq!(instructions(&text, "FROM")[0], [image.as_str(), "AS", "build"]);
}

#[test]
fn programs_link_nothing_that_the_image_lacks() {
    for name in ["wcdn-node", "wcdn-control-plane", "wcdn", "wcdn-dev"] {
        let output = Command::new("readelf").arg("-d").arg(program(name)).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let needed = told.lines().filter(|line| line.contains("(NEEDED)"));
        let needed: Vec<_> = needed.filter_map(|line| line.split(['[', ']']).nth(1)).collect();
        assert!(needed.contains(&"libc.so.6"), "{name}: {told}");
        let missing: Vec<_> = needed.iter().filter(|one| !LIBRARIES.contains(one)).collect();
        assert!(missing.is_empty(), "{name} needs {missing:?}");
    }
}
