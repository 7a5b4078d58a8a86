//! The configurations, as the programs read them.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::Value;
use toml::Table;
use wcdn_tests::{
    deploy::{Deployment, Variables, file, told, variables},
    program::program,
};

/// What a service of the compose file is started with, but for where its files are.
pub(crate) fn environment(deployment: &Deployment, service: &Value) -> Variables {
    let files = service["env_file"].as_array().into_iter().flatten();
    let files = files.map(|name| deployment.path(name.as_str().expect("a path")));
    let mut all: Variables = files.flat_map(|path| variables(&path)).collect();
    let own = service["environment"].as_object().into_iter().flatten();
    all.extend(own.map(|(key, value)| (key.clone(), value.as_str().expect("text").to_owned())));
    all
}

/// The file of that name, with the secrets of this machine, as a check would find them in a container.
fn here(deployment: &Deployment, config: &str) -> String {
    let text = fs::read_to_string(deployment.path(&format!("config/{config}"))).unwrap();
    let secrets = deployment.path("secrets").display().to_string();
    let copy = deployment.path(config);
    fs::write(&copy, text.replace("/run/secrets", &secrets)).unwrap();
    copy.display().to_string()
}

#[test]
fn each_program_takes_its_configuration() {
    let deployment = Deployment::make();
    let compose = deployment.compose();
    let mut checked = 0;
    for (name, service) in compose["services"].as_object().unwrap() {
        let image = service["image"].as_str().unwrap().split(':').next().unwrap();
        let configs: &[&str] = match image {
            "wcdn-node" => &["edge.toml", "edge-standin.toml"],
            "wcdn-control-plane" => &["control-plane.toml"],
            _ => continue,
        };
        let mut environment = environment(&deployment, service);
        for config in configs {
            environment.insert("WCDN_CONFIG".to_owned(), here(&deployment, config));
            let mut check = Command::new(program(image));
            check.arg("--check-config").env_clear().envs(&environment);
            assert_eq!(told(check.output().unwrap()), "", "{name} with {config}");
            checked += 1;
        }
    }
    assert_eq!(checked, 6 * 2 + 2);
}

#[test]
fn the_stand_in_is_all_that_its_configuration_changes() {
    let read = |name: &str| -> Table {
        fs::read_to_string(file(&format!("config/{name}"))).unwrap().parse().unwrap()
    };
    let (mut public, mut standin) = (read("edge.toml"), read("edge-standin.toml"));
    assert!(public.remove("walrus").is_some(), "a network");
    assert_eq!(standin.remove("origin").and_then(|all| Some(all.as_array()?.len())), Some(3));
    assert_eq!(public, standin);
}

#[test]
fn keys_are_made_once_and_closed_to_others() {
    let deployment = Deployment::make();
    let secrets = || -> Vec<(String, u32)> {
        let files = fs::read_dir(deployment.path("secrets")).unwrap().flatten();
        let mut files: Vec<_> = files.map(|file| file.path()).collect();
        files.sort();
        let mode = |path: &std::path::PathBuf| path.metadata().unwrap().permissions().mode();
        files.iter().map(|path| (fs::read_to_string(path).unwrap(), mode(path) & 0o777)).collect()
    };
    let (made, told) = (secrets(), deployment.variables());
    assert_eq!(made.len(), 4);
    assert!(made.iter().all(|(text, mode)| text.len() >= 48 && *mode == 0o600), "{made:?}");
    assert_eq!(told["WCDN_ISSUER_KEY"].len(), 64);
    deployment.keys();
    assert_eq!((secrets(), deployment.variables()), (made, told));
}

#[test]
fn a_key_that_does_not_belong_to_the_rest_is_noticed() {
    let deployment = Deployment::make();
    fs::remove_file(deployment.path("secrets/signing.key")).unwrap();
    let mut keys = Command::new(deployment.path("keys"));
    let said = told(keys.arg(program("wcdn-control-plane")).output().unwrap());
    assert!(said.contains("has another WCDN_ISSUER_KEY"), "{said}");
}
