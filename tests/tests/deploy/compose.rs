//! The compose file: what it says, and whether all its parts agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::{Map, Value};
use toml::Table;
use wcdn_dev::topology::{CONTROL_ADMIN_PORT, CONTROL_PORT, REGIONS};
use wcdn_tests::deploy::{self, Deployment, file};

use crate::configs::environment;

type Services = Map<String, Value>;

fn services(deployment: &Deployment) -> Services {
    deployment.compose()["services"].as_object().unwrap().clone()
}

/// Those of ours, which are built here.
fn ours(services: &Services) -> impl Iterator<Item = (&String, &Value)> {
    services.iter().filter(|(_, service)| service["build"].is_object())
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|one| one.as_str().unwrap()).collect()
}

/// Each fixed address of a service, by its network.
fn addresses(service: &Value) -> BTreeMap<&str, &str> {
    let networks = service["networks"].as_object().into_iter().flatten();
    let fixed =
        networks.filter_map(|(name, own)| Some((name.as_str(), own["ipv4_address"].as_str()?)));
    fixed.collect()
}

fn config(name: &str) -> Table {
    fs::read_to_string(file(&format!("config/{name}"))).unwrap().parse().unwrap()
}

#[test]
fn linters_find_nothing_wrong() {
    let deployment = Deployment::make();
    assert_eq!(deploy::dclint(&deployment.path("compose.yaml")), "");
    if let Some(found) = deploy::docker(&deployment.path("compose.yaml")) {
        assert_eq!(found, "");
    }
}

#[test]
fn what_it_refers_to_is_there() {
    let deployment = Deployment::make();
    let compose = deployment.compose();
    let services = services(&deployment);
    let dockerfile = fs::read_to_string(file("Dockerfile")).unwrap();
    let names = |kind: &str| -> BTreeSet<String> {
        compose[kind].as_object().unwrap().keys().cloned().collect()
    };
    for (kind, section) in [("configs", &compose["configs"]), ("secrets", &compose["secrets"])] {
        for (name, one) in section.as_object().unwrap() {
            let path = deployment.path(one["file"].as_str().unwrap());
            assert!(path.is_file(), "{kind}: {name} is {}", path.display());
        }
    }
    for (name, service) in &services {
        for needed in service["depends_on"].as_object().into_iter().flatten() {
            let healthy = needed.1["condition"] == "service_healthy";
            let other = services.get(needed.0).unwrap_or_else(|| panic!("{name}: {needed:?}"));
            assert!(healthy && (other["healthcheck"].is_object() || other["build"].is_object()));
        }
        for volume in texts(&service["volumes"]) {
            let volume = volume.split(':').next().unwrap();
            assert!(names("volumes").contains(volume), "{name}: {volume}");
        }
        let networks: BTreeSet<_> =
            service["networks"].as_object().unwrap().keys().cloned().collect();
        assert!(networks.is_subset(&names("networks")), "{name}: {networks:?}");
        assert!(texts(&service["secrets"]).iter().all(|one| names("secrets").contains(*one)));
        for config in service["configs"].as_array().into_iter().flatten() {
            assert!(names("configs").contains(config["source"].as_str().unwrap()), "{name}");
        }
    }
    for (name, service) in ours(&services) {
        let build = &service["build"];
        let target = build["target"].as_str().unwrap();
        assert!(dockerfile.contains(&format!(" AS {target}\n")), "{name}: {target}");
        assert_eq!(build["dockerfile"], "deploy/Dockerfile");
    }
}

#[test]
fn nodes_are_where_others_look_for_them() {
    let deployment = Deployment::make();
    let services = services(&deployment);
    let at = |service: &str, network: &str| addresses(&services[service])[network].to_owned();
    for (name, service) in ours(&services).filter(|(name, _)| *name != "walrus") {
        let variables = environment(&deployment, service);
        let advertised = variables["WCDN_GOSSIP__ADVERTISE"].split(':').next().unwrap().to_owned();
        assert_eq!(advertised, at(name, "backbone"), "{name}");
        let own = variables.get("WCDN_NODE__ID").or(variables.get("WCDN_GOSSIP__NODE"));
        assert_eq!(own, Some(name));
        if let Some(region) = variables.get("WCDN_NODE__REGION") {
            let redis = at(&format!("redis-{region}"), region);
            assert_eq!(variables["WCDN_REDIS__URLS"], format!("[\"redis://{redis}:6379\"]"));
            assert!(service["networks"].as_object().unwrap().contains_key(region), "{name}");
        }
    }
    let planes = ["control-plane-1", "control-plane-2"].map(|name| at(name, "backbone"));
    let seeds = planes.clone().map(|ip| format!("{ip}:4501").into());
    let endpoints = planes.map(|ip| format!("http://{ip}:4501").into());
    for name in ["edge.toml", "edge-standin.toml"] {
        let config = config(name);
        assert_eq!(config["control"]["endpoints"].as_array().unwrap()[..], endpoints, "{name}");
        assert_eq!(config["gossip"]["seeds"].as_array().unwrap()[..], seeds, "{name}");
    }
    let plane = config("control-plane.toml");
    assert_eq!(plane["gossip"]["seeds"].as_array().unwrap()[..], seeds);
    let url = plane["store"]["url"].as_str().unwrap();
    assert!(url.contains(&format!("@{}/", at("postgres", "control"))), "{url}");
    for origin in config("edge-standin.toml")["origin"].as_array().unwrap() {
        let url = origin["url"].as_str().unwrap();
        assert!(url.starts_with(&format!("http://{}:459", at("walrus", "backbone"))), "{url}");
    }
}

#[test]
fn ports_are_those_of_make_run_and_those_of_operators_stay_on_the_machine() {
    let services = services(&Deployment::make());
    let regions = REGIONS.into_iter().flat_map(|(region, base)| {
        (0..2u16).map(move |n| (format!("{region}-{}", n + 1), base + 2 * n))
    });
    for (name, port) in regions {
        let admin = port + 1;
        let expected = [format!("{port}:4510"), format!("127.0.0.1:{admin}:4511")];
        assert_eq!(texts(&services[&name]["ports"]), expected, "{name}");
    }
    for n in 0..2u16 {
        let name = format!("control-plane-{}", n + 1);
        let (http, admin) = (CONTROL_PORT + 2 * n, CONTROL_ADMIN_PORT + n);
        let expected = [
            format!("127.0.0.1:{}:4501", http + 1),
            format!("127.0.0.1:{http}:4500"),
            format!("127.0.0.1:{admin}:4600"),
        ];
        assert_eq!(texts(&services[&name]["ports"]), expected, "{name}");
    }
}

#[test]
fn containers_have_no_privileges_and_bounds() {
    for (name, service) in &services(&Deployment::make()) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        let limits = service["deploy"]["resources"]["limits"].as_object();
        let limits: Vec<_> = limits.unwrap_or_else(|| panic!("{name}")).keys().collect();
        assert_eq!(limits, ["cpus", "memory", "pids"], "{name}");
        // PostgreSQL becomes another user by itself.
        let user = service["user"].as_str().unwrap_or("0");
        assert!(!user.starts_with('0') || name == "postgres", "{name} is {user}");
    }
}
