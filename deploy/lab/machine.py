"""A machine: a network namespace of its own, with one device, in which one program runs.

Namespaces have no names. They end with the last process in them, and programs end with the one that
started them, however that ends: so nothing is ever left behind.
"""

import ctypes
import fcntl
import os
import pwd
import signal
import socket
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
PR_SET_PDEATHSIG = 1
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x4004_54CA, 0x0001, 0x1000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
IFF_UP_RUNNING = 0x41

# All machines are on one link, whatever networks they would be in elsewhere.
NETMASK = "255.255.0.0"


@dataclass
class Machine:
    """What is to run, and where. `doors` are ports that the outside needs, by what they are for. It is
    ready once `ready`, a port, a question and how the answer begins, holds."""

    name: str
    place: str
    address: str
    command: list
    environment: dict = field(default_factory=dict)
    doors: dict = field(default_factory=dict)
    ready: tuple = ()
    user: Optional[str] = None
    namespace: int = -1
    device: int = -1
    process: Optional[subprocess.Popen] = None

    def boot(self):
        """Makes its namespace, and stays in it."""
        _call("unshare", CLONE_NEWNET)
        self.namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH22x", b"wan", IFF_TUN | IFF_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:

            def device(request, name, value):
                fcntl.ioctl(any_socket, request, struct.pack("16s24s", name, value))

            device(SIOCSIFADDR, b"wan", _sockaddr(self.address))
            device(SIOCSIFNETMASK, b"wan", _sockaddr(NETMASK))
            device(SIOCSIFFLAGS, b"wan", struct.pack("h", IFF_UP_RUNNING))
            device(SIOCSIFFLAGS, b"lo", struct.pack("h", IFF_UP_RUNNING))

    def start(self, log: Path):
        """Starts its program; what that says is added to the log."""
        account = pwd.getpwnam(self.user) if self.user else None

        def inside():
            enter(self.namespace)
            if account:
                os.setgroups([])
                os.setgid(account.pw_gid)
                os.setuid(account.pw_uid)
            _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)

        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                self.command,
                env={"PATH": os.environ.get("PATH", os.defpath), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=inside,
                start_new_session=True,
            )

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def socket(self) -> socket.socket:
        """A TCP socket of this machine, which must have been booted by this process."""
        enter(self.namespace)
        own = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        own.setblocking(False)
        return own


def enter(namespace: int):
    """From here on this process is on that machine."""
    _call("setns", namespace, CLONE_NEWNET)


def enter_user(namespace: int):
    """From here on this process may do there what the lab may."""
    _call("setns", namespace, CLONE_NEWUSER)


def become_root_of_nothing():
    """Without root: a user namespace, in which networks can be made."""
    user, group = os.geteuid(), os.getegid()
    _call("unshare", CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def whats_missing() -> Optional[str]:
    """Why there can be no machines here; asked in a child, for it changes the process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            if os.geteuid() != 0:
                become_root_of_nothing()
            Machine("probe", "nowhere", "10.77.255.254", []).boot()
        except OSError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        problem = answer.read()
    os.waitpid(child, 0)
    return problem or None


def _sockaddr(address: str) -> bytes:
    return struct.pack("HH4s16x", socket.AF_INET, 0, socket.inet_aton(address))[:24]


def _call(name: str, *arguments):
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
