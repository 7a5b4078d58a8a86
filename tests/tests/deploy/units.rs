//! The units of systemd.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use wcdn_tests::{
    deploy::{Deployment, file, told},
    program::program,
};

const PROGRAMS: [&str; 2] = ["wcdn-node", "wcdn-control-plane"];

/// The most that `systemd-analyze security` may count, of 100: 20 is where its "OK" begins.
const EXPOSURE: &str = "20";

fn unit(name: &str) -> String {
    fs::read_to_string(file(&format!("systemd/{name}.service"))).unwrap()
}

fn analyze(words: &[&str]) -> String {
    told(Command::new("systemd-analyze").args(words).output().expect("it is installed"))
}

#[test]
fn systemd_can_load_them() {
    let folder = tempfile::tempdir().unwrap();
    for name in PROGRAMS {
        // Where the program is here; everything else stays.
        let here = program(name);
        let text = unit(name).replace(&format!("/usr/bin/{name}"), here.to_str().unwrap());
        let copy = folder.path().join(format!("{name}.service"));
        fs::write(&copy, text).unwrap();
        assert_eq!(analyze(&["verify", "--man=no", copy.to_str().unwrap()]), "", "{name}");
    }
}

#[test]
fn they_give_a_process_no_more_than_it_needs() {
    for name in PROGRAMS {
        let path = file(&format!("systemd/{name}.service"));
        let words = ["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE];
        assert_eq!(analyze(&[&words[..], &[path.to_str().unwrap()]].concat()), "", "{name}");
    }
}

/// The variables that a unit sets, with folders of the test in the places of systemd's.
fn environment(name: &str, credentials: &Path, state: &Path) -> BTreeMap<String, String> {
    let text = unit(name);
    let lines = text.lines().filter_map(|line| line.strip_prefix("Environment="));
    let pairs = lines.map(|line| line.split_once('=').expect("a variable"));
    let at = |value: &str| {
        value.replace("%d", credentials.to_str().unwrap()).replace("%S", state.to_str().unwrap())
    };
    pairs.map(|(key, value)| (key.to_owned(), at(value))).collect()
}

#[test]
fn the_programs_take_what_the_units_tell_them() {
    let (deployment, state) = (Deployment::make(), tempfile::tempdir().unwrap());
    let issuer = format!("[\"{}\"]", deployment.variables()["WCDN_ISSUER_KEY"]);
    let own = [
        ("WCDN_CONFIG".to_owned(), deployment.path("config/edge.toml").display().to_string()),
        ("WCDN_GOSSIP__ISSUER_KEYS".to_owned(), issuer),
        ("WCDN_GOSSIP__ADVERTISE".to_owned(), "203.0.113.7:4519".to_owned()),
    ];
    let config = deployment.path("alone.toml");
    fs::write(&config, "[gossip]\nnode = \"desk\"\n").unwrap();
    let alone = [("WCDN_CONFIG".to_owned(), config.display().to_string())];
    for (name, own) in PROGRAMS.into_iter().zip([&own[..], &alone[..]]) {
        let environment = environment(name, &deployment.path("secrets"), state.path());
        let mut check = Command::new(program(name));
        check.arg("--check-config").env_clear().envs(environment).envs(own.iter().cloned());
        assert_eq!(told(check.output().unwrap()), "", "{name}");
    }
}
