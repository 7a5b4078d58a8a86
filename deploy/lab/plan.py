"""What runs where: the topology of compose.yaml, from the same files in deploy/config and deploy/nodes."""

import glob
import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from machine import Machine

DEPLOY = Path(__file__).resolve().parent.parent

# The port at which the first edge of a region can be reached from outside; its admin port is one above,
# further edges follow in twos. The same as in compose.yaml and `make run`.
REGIONS = {"us-west": 4510, "eu-west": 4520, "asia-pacific": 4530}

# One way, in milliseconds. "control" is where the control planes stand, "walrus" everything outside.
DELAYS = {
    ("us-west", "eu-west"): 70,
    ("us-west", "asia-pacific"): 85,
    ("eu-west", "asia-pacific"): 80,
    ("control", "us-west"): 20,
    ("control", "eu-west"): 60,
    ("control", "asia-pacific"): 90,
    ("walrus", "us-west"): 30,
    ("walrus", "eu-west"): 30,
    ("walrus", "asia-pacific"): 40,
}

WALRUS = "10.77.0.5"
POSTGRES = "10.77.4.2"


class Unusable(Exception):
    """What is missing, and the remedy."""


@dataclass
class Options:
    """What was asked for."""

    home: Path
    programs: Path
    edges: int
    control_planes: int


def machines(options: Options) -> list:
    """Those to start together, stage after stage; their secrets and folders are made."""
    keys = Keys(options)
    planes = [control_plane(options, n + 1) for n in range(options.control_planes)]
    addresses = [plane.address for plane in planes]
    ground = [redis(region, address) for region, address in redis_addresses().items()]
    ground.append(walrus(options))
    if options.control_planes > 1:
        ground.append(postgres(options))
    issuer_key = keys.issuer_key(planes[0])
    edges = [
        edge(options, region, n + 1, addresses, issuer_key)
        for region in REGIONS
        for n in range(options.edges)
    ]
    return [ground, planes, edges]


class Keys:
    """The secrets, made at the first start."""

    def __init__(self, options: Options):
        self.options = options
        self.folder = options.home / "secrets"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for name, count in [
            ("cluster.key", 32),
            ("signing.key", 32),
            ("api.key", 24),
            ("postgres.password", 24),
        ]:
            file = self.folder / name
            if not file.exists():
                file.touch(mode=0o600)
                file.write_text(secrets.token_hex(count))

    def issuer_key(self, plane: Machine) -> str:
        """The public key, as the program tells it."""
        told = subprocess.run(
            [*plane.command, "issuer-key"],
            env=plane.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode != 0:
            raise Unusable(told.stderr.strip())
        return told.stdout.strip()


def edge(options: Options, region: str, number: int, planes: list, issuer_key: str) -> Machine:
    name = f"{region}-{number}"
    own = variables(name)
    state = options.home / "state" / name
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    quoted = ", ".join(f'"http://{plane}:4501"' for plane in planes)
    seeds = ", ".join(f'"{plane}:4501"' for plane in planes)
    base = REGIONS[region] + 2 * (number - 1)
    return Machine(
        name,
        region,
        own["WCDN_GOSSIP__ADVERTISE"].split(":")[0],
        [program(options, "wcdn-node")],
        {
            **own,
            "WCDN_CONFIG": str(DEPLOY / "config" / "edge-standin.toml"),
            "WCDN_GOSSIP__ISSUER_KEYS": f'["{issuer_key}"]',
            "WCDN_CONTROL__ENDPOINTS": f"[{quoted}]",
            "WCDN_GOSSIP__SEEDS": f"[{seeds}]",
            "WCDN_NODE__STATE_DIR": str(state),
            "WCDN_CLUSTER__KEY_FILE": str(options.home / "secrets" / "cluster.key"),
            # No load balancer stands before it.
            "WCDN_LIMITS__DRAIN_DELAY": "0s",
        },
        {"edge": (4510, base), "admin": (4511, base + 1)},
        answers(4511, "/readyz"),
    )


def control_plane(options: Options, number: int) -> Machine:
    name = f"control-plane-{number}"
    own = variables(name)
    address = own["WCDN_GOSSIP__ADVERTISE"].split(":")[0]
    folder = options.home / "secrets"
    environment = {
        **own,
        "WCDN_CONFIG": str(DEPLOY / "config" / "control-plane.toml"),
        "WCDN_CLUSTER__KEY_FILE": str(folder / "cluster.key"),
        "WCDN_CLUSTER__SIGNING_KEY_FILE": str(folder / "signing.key"),
        "WCDN_KEYS__FIXED_KEY_FILE": str(folder / "api.key"),
        "WCDN_LIMITS__DRAIN_DELAY": "0s",
    }
    if options.control_planes > 1:
        environment["WCDN_STORE__PASSWORD_FILE"] = str(folder / "postgres.password")
    else:
        environment["WCDN_CONFIG"] = str(without_postgres(options))
        environment["WCDN_STORE__PATH"] = str(options.home / "state" / name / "store.db")
    grpc = 4501 + 2 * (number - 1)
    return Machine(
        name,
        "control",
        address,
        [program(options, "wcdn-control-plane")],
        environment,
        {"grpc": (4501, grpc), "http": (4500, grpc - 1), "admin": (4600, 4600 + number - 1)},
        answers(4600, "/readyz"),
    )


def without_postgres(options: Options) -> Path:
    """One control plane needs no database to share: the same configuration, but for its store."""
    text = (DEPLOY / "config" / "control-plane.toml").read_text()
    file = options.home / "control-plane.toml"
    file.write_text(re.sub(r"(?m)^\[store\]\n(?:(?!\[).*\n)*", "", text))
    return file


def redis(region: str, address: str) -> Machine:
    command = [found("redis-server"), "--bind", address, "--protected-mode", "no", "--save", ""]
    command += ["--appendonly", "no", "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lfu"]
    return Machine(f"redis-{region}", region, address, command, ready=(6379, b"PING\r\n", b"+PONG"))


def redis_addresses() -> dict:
    """Where the edges of each region expect it."""
    urls = {region: variables(f"{region}-1")["WCDN_REDIS__URLS"] for region in REGIONS}
    return {region: re.search(r"redis://([\d.]+)", url)[1] for region, url in urls.items()}


def walrus(options: Options) -> Machine:
    data = options.home / "state" / "walrus"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Machine(
        "walrus",
        "walrus",
        WALRUS,
        [program(options, "wcdn-dev"), "--data", str(data), "walrus", "--address", WALRUS],
        {},
        {name: (port, port) for name, port in walrus_ports().items()},
        answers(4590, "/status"),
    )


def walrus_ports() -> dict:
    return {"publisher": 4590, **{f"aggregator-{n}": 4590 + n for n in (1, 2, 3)}}


def postgres(options: Options) -> Machine:
    """A database of its own; made if it is not there. It refuses to run as root."""
    user = "postgres" if os.geteuid() == 0 else None
    data = options.home / "state" / "postgres"
    server = found("postgres")
    if not (data / "PG_VERSION").exists():
        make_database(Path(server).parent, data, options.home / "secrets", user)
    command = [server, "-D", str(data), "-c", f"listen_addresses={POSTGRES}"]
    # It outlives its own death, not that of the machine under it.
    command += ["-c", "unix_socket_directories=", "-c", "fsync=off"]
    # As a client begins: it asks for a password, or says that it is not ready.
    hello = b"\0\3\0\0user\0wcdn\0database\0wcdn\0\0"
    ready = (5432, (len(hello) + 4).to_bytes(4, "big") + hello, b"R")
    return Machine("postgres", "control", POSTGRES, command, ready=ready, user=user)


def make_database(programs: Path, data: Path, keys: Path, user: str):
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = (keys / "postgres.password").read_text()
    if user:
        shutil.chown(data, user)

    def run(*command, given=""):
        made = subprocess.run(
            [str(programs / command[0]), *command[1:]],
            input=given,
            user=user,
            extra_groups=[] if user else None,
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.defpath},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise Unusable(f"{command[0]} failed: {made.stdout.strip()}")

    run("initdb", "-D", str(data), "-U", "wcdn", "-A", "reject", "-E", "UTF8", "--no-sync")
    commands = f"ALTER USER wcdn PASSWORD '{password}'\nCREATE DATABASE wcdn\n"
    run("postgres", "--single", "-D", str(data), "postgres", given=commands)
    with open(data / "pg_hba.conf", "a", encoding="utf-8") as rules:
        rules.write("host wcdn wcdn 10.77.0.0/16 scram-sha-256\n")


def answers(port: int, path: str) -> tuple:
    """When it does so with 200, a program that speaks HTTP is ready."""
    return port, f"GET {path} HTTP/1.1\r\nhost: lab\r\n\r\n".encode(), b"HTTP/1.1 200 "


def variables(name: str) -> dict:
    """Those of a node, as compose.yaml gives them to it."""
    lines = (DEPLOY / "nodes" / f"{name}.env").read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {key: value for key, value in pairs}


def program(options: Options, name: str) -> str:
    file = options.programs / name
    if not file.exists():
        raise Unusable(f"{file} is not there; make build, or name another folder by --programs")
    return str(file)


def found(name: str) -> str:
    """A program of others; Debian hides those of PostgreSQL."""
    places = [os.environ.get("PATH", os.defpath), "/usr/sbin"]
    places += sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    file = shutil.which(name, path=os.pathsep.join(places))
    if not file:
        raise Unusable(f"{name} is not installed; on Debian it is in redis-server or postgresql")
    return file
