//! What an edge takes from a changed configuration while it runs.

use serde_json::Value;
use wcdn_daemon::config::Problems;

use super::Node;
use crate::config::Config;

/// What became of a new configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys that differ from what the edge was started with, and need a restart.
    pub needs_restart: Vec<String>,
}

/// Keys that are taken over at once.
const AT_ONCE: [&str; 3] = ["/limits", "/origin", "/walrus/network"];

impl Node {
    /// Takes over the limits of a configuration, and its origins if no control plane gave others, and reads the certificate again. What
    /// is open stays open, and is held to the new limits; what is being fetched from an origin that
    /// is no more runs to its end. It blocks on the disk.
    ///
    /// # Errors
    /// [`Problems`]; then nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<Reloaded, Problems> {
        config.check()?;
        if let Some(Err(error)) = self.certificates.as_ref().map(|current| current.reload()) {
            let mut problems = Problems::default();
            problems.push("tls", format!("cannot be reloaded: {error}"));
            problems.into_result()?;
        }
        self.serving.viewers.limit(&config.limits);
        self.serving.fills.pool().configure(config.origins());
        let mut needs_restart = Vec::new();
        differences(&table(&self.config), &table(config), "", &mut needs_restart);
        Ok(Reloaded { needs_restart })
    }
}

fn table(config: &Config) -> Value {
    let mut table = serde_json::to_value(config).expect("a configuration is a table");
    for key in AT_ONCE {
        if let Some(value) = table.pointer_mut(key) {
            *value = Value::Null;
        }
    }
    table
}

/// The keys, with those above them, whose values differ.
fn differences(old: &Value, new: &Value, path: &str, into: &mut Vec<String>) {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        if old != new {
            into.push(path.to_owned());
        }
        return;
    };
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let value = |table: &serde_json::Map<String, Value>| table.get(key).cloned();
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let (old, new) = (value(before).unwrap_or_default(), value(after).unwrap_or_default());
        differences(&old, &new, &path, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_need_a_restart_are_named_and_limits_and_origins_are_not_among_them() {
        let mut config = Config::default();
        let before = table(&config);
        config.cache.memory = wcdn_proto::ByteSize::mib(77);
        config.listen.tls = Some(([127, 0, 0, 1], 443).into());
        config.limits.max_streams = 3;
        config.walrus.network = wcdn_walrus::Network::Testnet;
        let (name, url) = ("mine".parse().unwrap(), "http://127.0.0.1:9".parse().unwrap());
        config.origins.push(crate::config::OriginSpec::new(name, url));
        let mut found = Vec::new();
        differences(&before, &table(&config), "", &mut found);
        assert_eq!(found, ["cache.memory", "listen.tls"]);
    }
}
