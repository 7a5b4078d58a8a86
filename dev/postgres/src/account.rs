//! As whom a server runs.

use std::{
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, bail};

/// Who runs a server when we are root.
#[derive(Debug)]
pub(crate) struct Account {
    name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// Somebody else, if we are root.
    pub(crate) fn unprivileged() -> anyhow::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let named = |name| users.lines().find_map(|line| Self::parse(line, name));
        let found = named("postgres").or_else(|| named("nobody"));
        found.context("PostgreSQL refuses to run as root, and there is no user postgres").map(Some)
    }

    fn parse(line: &str, name: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|field| *field == name)?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        Some(Self { name, uid, gid: fields.next()?.parse().ok()? })
    }

    /// Makes sure that it can get into a folder.
    pub(crate) fn enter(&self, dir: &Path) -> anyhow::Result<()> {
        let mut test = Command::new("test");
        let entered = test.arg("-x").arg(dir).uid(self.uid).gid(self.gid).current_dir("/").status();
        if !entered.context("cannot start a program")?.success() {
            let (name, dir) = (&self.name, dir.display());
            bail!("PostgreSQL runs as {name}, who cannot get into {dir}; choose another folder");
        }
        Ok(())
    }

    /// Gives a file or folder to it.
    pub(crate) fn take(&self, path: &Path) -> anyhow::Result<()> {
        let told = || format!("cannot give {} to the user {}", path.display(), self.name);
        chown(path, Some(self.uid), Some(self.gid)).with_context(told)
    }
}
