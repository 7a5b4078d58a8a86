//! PostgreSQL servers of our own: made in a folder, started, stopped, killed, copied and promoted.
//!
//! They listen on a socket in a folder that only their user can enter, and on a port of 127.0.0.1 if
//! that is wanted. PostgreSQL refuses to run as root, so root's servers run as `postgres`, or `nobody`.
//! A shell holds each server, and stops it when the process that started it is gone, however it went.

mod account;
mod programs;

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};

use self::account::Account;
pub use self::programs::is_installed;

/// The user of every server, who owns every database of it.
pub const USER: &str = "wcdn";

/// How long a server may take to answer; one that was killed reads its log first.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of its log that are told when it does not start.
const MAX_TOLD: u64 = 2_000;

/// Holds a server, and sends it the signal that its input says. When its input ends, the process that
/// started it is gone: then it sends the one that is named first, and removes the folder that is named.
const HOLD: &str = r#"signal=$1 folder=$2 socket=$3; shift 3
exec 3<&0
"$@" <&- & server=$!
{
  if read -r asked <&3; then signal=$asked; else : >"$socket/alone"; fi
  kill -"$signal" "$server"
} & watch=$!
wait "$server"; status=$?
kill "$watch" 2>/dev/null
[ -e "$socket/alone" ] && rm -rf ${folder:+"$folder"}
rm -rf "$socket"
exit "$status""#;

/// A server, running or not.
#[derive(Debug)]
pub struct Postgres {
    dir: PathBuf,
    bin: PathBuf,
    account: Option<Account>,
    port: Option<u16>,
    holder: Option<Holder>,
    is_temporary: bool,
}

#[derive(Debug)]
struct Holder {
    shell: Child,
    socket: PathBuf,
    /// What the server says; the folder may be gone when it is read.
    log: File,
}

impl Postgres {
    /// Makes a server in a folder, or finds the one that was made there; its user needs no password.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or the folder cannot be used.
    pub async fn create(dir: &Path) -> anyhow::Result<Self> {
        Self::with(dir, &["--auth=trust"]).await
    }

    /// Makes a server in a folder that goes when the server does; over TCP its user needs this password.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn temporary_with_password(password: &str) -> anyhow::Result<Self> {
        let dir = temporary()?;
        let file = Self::at(&dir)?.write("password", password.as_bytes())?;
        let option = format!("--pwfile={}", file.display());
        let options = ["--auth-local=trust", "--auth-host=scram-sha-256", &option];
        let mut server = Self::with(&dir, &options).await?;
        server.is_temporary = true;
        Ok(server)
    }

    /// Makes a server in a folder that goes when the server does.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn temporary() -> anyhow::Result<Self> {
        let mut server = Self::create(&temporary()?).await?;
        server.is_temporary = true;
        Ok(server)
    }

    async fn with(dir: &Path, options: &[&str]) -> anyhow::Result<Self> {
        let server = Self::at(dir)?;
        if !server.data().join("PG_VERSION").exists() {
            let data = server.data();
            let fixed = ["-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions", "-U", USER];
            let mut initdb = server.command("initdb");
            initdb.arg("-D").arg(data).args(fixed).args(options);
            said(initdb, "initdb").await?;
        }
        Ok(server)
    }

    /// A folder that its user may use.
    fn at(dir: &Path) -> anyhow::Result<Self> {
        let bin = programs::folder()?;
        let account = Account::unprivileged()?;
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = std::path::absolute(dir)?;
        if let Some(account) = &account {
            account.take(&dir)?;
            account.enter(&dir)?;
        }
        Ok(Self { dir, bin, account, port: None, holder: None, is_temporary: false })
    }

    /// Copies a running server that listens on a port, as a standby that follows it, to a folder that goes
    /// when the standby does.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub async fn temporary_standby(&self) -> anyhow::Result<Self> {
        let mut standby = Self::at(&temporary()?)?;
        standby.is_temporary = true;
        let mut copy = standby.command("pg_basebackup");
        copy.args(["-h", "127.0.0.1", "-p", &self.port().to_string(), "-U", USER, "-R"]);
        copy.args(["--checkpoint=fast", "--no-sync", "-D"]).arg(standby.data());
        said(copy, "pg_basebackup").await?;
        Ok(standby)
    }

    /// Starts it, with these settings, such as `("fsync", "off")`.
    ///
    /// # Errors
    /// When it does not start; what it said is in the error.
    pub async fn start(&mut self, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        self.run(settings, "").await
    }

    /// Starts it on a port of 127.0.0.1, too: one that is free, and the same each time.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn listen(&mut self, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        let is_new = self.port.is_none();
        for _ in 0..10 {
            if is_new {
                self.port = Some(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
            }
            match self.run(settings, "127.0.0.1").await {
                // Somebody else has it by now.
                Err(error) if is_new && error.to_string().contains("in use") => {}
                done => return done,
            }
        }
        bail!("no port is free")
    }

    async fn run(&mut self, settings: &[(&str, &str)], addresses: &str) -> anyhow::Result<()> {
        self.stop();
        let socket = tempfile::Builder::new().prefix("wcdn-pg-").tempdir()?.keep();
        if let Some(account) = &self.account {
            account.take(&socket)?;
        }
        let log = self.dir.join("postgres.log");
        let log = File::options().create(true).append(true).read(true).open(log)?;
        let folder = if self.is_temporary { self.dir.as_path() } else { Path::new("") };
        let mut shell = Command::new("sh");
        shell.args(["-c", HOLD, "sh", "QUIT"]).arg(folder).arg(&socket);
        shell.arg(self.bin.join("postgres")).arg("-D").arg(self.data());
        shell.arg("-k").arg(&socket).args(["-p", &self.port().to_string(), "-h", addresses]);
        for (name, value) in settings {
            shell.args(["-c", &format!("{name}={value}")]);
        }
        shell
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .current_dir(&self.dir);
        // Ctrl-C in a terminal reaches every process of its group; this one is stopped by us, last.
        shell.process_group(0);
        if let Some(account) = &self.account {
            shell.uid(account.uid).gid(account.gid);
        }
        let shell = shell.spawn().context("cannot start a shell")?;
        self.holder = Some(Holder { shell, socket, log });
        self.ready().await
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + READY_TIMEOUT;
        while self.execute("postgres", "SELECT 1").await.is_err() {
            if let Some(told) = self.ended()? {
                self.holder = None;
                bail!("postgres ended: {told}");
            }
            if Instant::now() > end {
                bail!("postgres did not answer within {READY_TIMEOUT:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// What it said last, if it has ended.
    fn ended(&mut self) -> anyhow::Result<Option<String>> {
        let Some(holder) = &mut self.holder else { bail!("it was not started") };
        if holder.shell.try_wait()?.is_none() {
            return Ok(None);
        }
        let mut said = String::new();
        let end = holder.log.metadata()?.len();
        holder.log.seek(SeekFrom::Start(end.saturating_sub(MAX_TOLD)))?;
        holder.log.read_to_string(&mut said)?;
        Ok(Some(said.trim().to_owned()))
    }

    /// Runs statements, and returns the rows, with `|` between values.
    ///
    /// # Errors
    /// When the server does not answer, or says no.
    pub async fn execute(&self, database: &str, statements: &str) -> anyhow::Result<String> {
        let Some(holder) = &self.holder else { bail!("it does not run") };
        let mut psql = self.command("psql");
        psql.arg("-h").arg(&holder.socket).args(["-p", &self.port().to_string()]);
        psql.args(["-U", USER, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database]);
        psql.args(["-c", statements]);
        said(psql, "psql").await
    }

    /// Makes a database, unless there is one of this name.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn create_database(&self, name: &str) -> anyhow::Result<()> {
        let query = format!("SELECT 1 FROM pg_database WHERE datname = '{name}'");
        if self.execute("postgres", &query).await?.is_empty() {
            self.execute("postgres", &format!("CREATE DATABASE {name}")).await?;
        }
        Ok(())
    }

    /// Runs one of PostgreSQL's programs against a database, and returns what it prints.
    ///
    /// # Errors
    /// When it fails; what it said is in the error.
    pub async fn program(&self, name: &str, arguments: &[&OsStr]) -> anyhow::Result<String> {
        let Some(holder) = &self.holder else { bail!("it does not run") };
        let mut program = self.command(name);
        program.arg("-h").arg(&holder.socket).args(["-p", &self.port().to_string(), "-U", USER]);
        program.args(arguments);
        said(program, name).await
    }

    /// Where a database of it is: on the port if it listens on one, else on the socket.
    ///
    /// # Panics
    /// When it does not run.
    pub fn url(&self, database: &str) -> String {
        let holder = self.holder.as_ref().expect("it runs");
        match self.port {
            Some(port) => format!("postgres://{USER}@127.0.0.1:{port}/{database}"),
            None => format!("postgres://{USER}@/{database}?host={}", holder.socket.display()),
        }
    }

    /// The port, on 127.0.0.1 or in the name of the socket.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(5432)
    }

    /// Writes a file beside its data that only it can read, such as the key of a certificate.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(name);
        std::fs::write(&path, bytes)?;
        if let Some(account) = &self.account {
            account.take(&path)?;
        }
        let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
        std::fs::set_permissions(&path, mode)?;
        Ok(path)
    }

    /// Makes a standby a primary.
    ///
    /// # Errors
    /// When it is none.
    pub async fn promote(&self) -> anyhow::Result<()> {
        self.execute("postgres", "SELECT pg_promote()").await.map(drop)
    }

    /// Stops it: what runs is broken off, what was committed is written.
    pub fn stop(&mut self) {
        self.end("INT");
    }

    /// Ends it at once, as a loss of power does, but for what the system still writes.
    pub fn kill(&mut self) {
        self.end("QUIT");
    }

    fn end(&mut self, signal: &str) {
        let Some(mut holder) = self.holder.take() else { return };
        if let Some(mut input) = holder.shell.stdin.take() {
            // A shell that is gone has nothing left to do.
            drop(writeln!(input, "{signal}"));
        }
        drop(holder.shell.wait());
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn command(&self, name: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(self.bin.join(name));
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command.current_dir(&self.dir).stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
        if self.is_temporary {
            // What cannot be removed lies in the folder for temporary files.
            drop(std::fs::remove_dir_all(&self.dir));
        }
    }
}

fn temporary() -> anyhow::Result<PathBuf> {
    Ok(tempfile::Builder::new().prefix("wcdn-postgres-").tempdir()?.keep())
}

/// What a program prints, if it succeeds.
async fn said(mut command: tokio::process::Command, name: &str) -> anyhow::Result<String> {
    let output = command.output().await.with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests;
