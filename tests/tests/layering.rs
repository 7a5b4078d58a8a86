//! Dependencies between our crates go one way.

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Which of our crates each one may depend on. Dependencies of tests count too.
const ARROWS: &[(&str, &[&str])] = &[
    ("wcdn-proto", &[]),
    ("wcdn-walrus", &["wcdn-proto"]),
    ("wcdn-gossip", &["wcdn-proto"]),
    ("wcdn-daemon", &["wcdn-proto"]),
    ("wcdn-node", &["wcdn-proto", "wcdn-walrus", "wcdn-gossip", "wcdn-daemon"]),
    ("wcdn-control-plane", &BELOW_CONTROL_PLANE),
    ("wcdn", &["wcdn-proto"]),
    ("wcdn-postgres", &[]),
    ("wcdn-dev", &BELOW_DEV),
    ("wcdn-tests", &ALL_OTHERS),
    ("wcdn-bench", &ALL_OTHERS),
];

const BELOW_CONTROL_PLANE: [&str; 5] =
    ["wcdn-proto", "wcdn-walrus", "wcdn-gossip", "wcdn-daemon", FOR_TESTS];

const BELOW_DEV: [&str; 7] = [
    "wcdn-proto",
    "wcdn-walrus",
    "wcdn-gossip",
    "wcdn-daemon",
    "wcdn-node",
    "wcdn-control-plane",
    FOR_TESTS,
];

/// What the programs that are shipped use in their tests only.
const FOR_TESTS: &str = "wcdn-postgres";

const ALL_OTHERS: [&str; 10] = [
    "wcdn-proto",
    "wcdn-walrus",
    "wcdn-gossip",
    "wcdn-daemon",
    "wcdn-node",
    "wcdn-control-plane",
    "wcdn",
    "wcdn-dev",
    "wcdn-tests",
    FOR_TESTS,
];

fn metadata() -> cargo_metadata::Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
    command.no_deps().other_options(["--locked".to_owned(), "--offline".to_owned()]);
    command.exec().expect("cargo metadata")
}

#[test]
fn crates_depend_on_those_below_them_only() {
    for package in metadata().packages {
        let name = package.name.to_string();
        let (_, allowed) = ARROWS
            .iter()
            .find(|(ours, _)| *ours == name)
            .unwrap_or_else(|| panic!("{name} has no place in the layering; give it one here"));
        for dependency in package.dependencies {
            let ours = dependency.name.starts_with("wcdn");
            assert!(
                !ours || allowed.contains(&dependency.name.as_str()),
                "{name} must not depend on {}",
                dependency.name
            );
        }
    }
}

#[test]
fn what_is_shipped_starts_no_database() {
    for package in metadata().packages {
        if ["wcdn-node", "wcdn-control-plane", "wcdn"].contains(&package.name.as_str()) {
            let mut dependencies = package.dependencies.iter();
            let shipped = dependencies
                .any(|it| it.name == FOR_TESTS && it.kind != DependencyKind::Development);
            assert!(!shipped, "{} needs {FOR_TESTS} outside its tests", package.name);
        }
    }
}

#[test]
fn no_crate_has_a_feature_for_tests() {
    for package in metadata().packages {
        for feature in package.features.keys() {
            let for_tests = ["test", "mock", "dev"].iter().any(|word| feature.starts_with(word));
            assert!(!for_tests, "{} has the feature {feature}", package.name);
        }
    }
}
