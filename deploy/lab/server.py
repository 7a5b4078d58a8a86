"""The lab itself: one process that holds the machines, the network between them, and doors to them."""

import array
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from typing import Optional

from machine import Machine, become_root_of_nothing
from plan import DELAYS, Options, Unusable, machines
from wan import Link, Wan

# From its start until a machine answers; from being asked to stop until its program is killed.
READY_TIMEOUT, STOP_TIMEOUT = 60.0, 15.0

# One request to the lab.
MAX_REQUEST = 4096


class Lab:
    """Started once, by `serve`."""

    def __init__(self, options: Options, any_ports: bool, loss: float, ideal: bool):
        self.options = options
        self.any_ports = any_ports
        self.loop = asyncio.get_running_loop()
        self.wan = Wan(self.loop)
        self.stages: list = []
        self.doors: dict = {}
        self.ended = asyncio.Event()
        self._servers: list = []
        self._waiting_for_the_end: list = []
        if not ideal:
            for (here, there), delay in DELAYS.items():
                self.wan.links[frozenset((here, there))] = Link(delay / 1000, loss / 100)

    def machines(self) -> list:
        return [machine for stage in self.stages for machine in stage]

    def named(self, name: str) -> Machine:
        """A machine, or the first one of a place: an edge, where there are edges."""
        own = [machine for machine in self.machines() if machine.name == name]
        near = [one for stage in reversed(self.stages) for one in stage if one.place == name]
        if not own + near:
            names = ", ".join(machine.name for machine in self.machines())
            raise Unusable(f"there is no machine {name}; there are {names}")
        return (own + near)[0]

    async def start(self):
        self.stages = machines(self.options)
        # What listens outside does so before there is an inside: without root there is no way back.
        listeners = [
            (self._listen(machine.name, door, port), machine, inside)
            for machine in self.machines()
            for door, (inside, port) in machine.doors.items()
        ]
        control = self._listen_for_requests()
        if os.geteuid() != 0:
            become_root_of_nothing()
        for machine in self.machines():
            machine.boot()
            self.wan.join(socket.inet_aton(machine.address), machine.place, machine.device)
        for listener, machine, inside in listeners:
            await self._open_door(listener, machine, inside)
        self.loop.add_reader(control, self._answer_request, control)
        for stage in self.stages:
            for machine in stage:
                machine.start(self.log(machine))
            for machine in stage:
                await self._until_ready(machine)

    def log(self, machine: Machine):
        return self.options.home / "logs" / f"{machine.name}.log"

    async def stop(self):
        for server in self._servers:
            server.close()
        running = [machine for machine in reversed(self.machines()) if machine.runs()]
        for machine in running:
            # What PostgreSQL calls fast is what others do at SIGTERM.
            gently = signal.SIGINT if machine.name == "postgres" else signal.SIGTERM
            machine.process.send_signal(gently)
        end = self.loop.time() + STOP_TIMEOUT
        while any(machine.runs() for machine in running) and self.loop.time() < end:
            await asyncio.sleep(0.05)
        for machine in running:
            if machine.runs():
                machine.process.kill()
                machine.process.wait()

    def _listen(self, name: str, door: str, port: int) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", 0 if self.any_ports else port))
        except OSError as error:
            raise Unusable(f"port {port} is taken, for {name}: {error}; see --any-ports") from error
        address = "{}:{}".format(*listener.getsockname())
        self.doors.setdefault(name, {})[door] = address
        return listener

    async def _open_door(self, listener: socket.socket, machine: Machine, inside: int):
        """Passes on what comes from outside, from the machine to itself: not over the network."""

        async def through(reader, writer):
            with contextlib.closing(writer):
                try:
                    there = await self._connect(machine, inside)
                except OSError:
                    return
                # Whichever side breaks off takes the other with it.
                with contextlib.closing(there[1]), contextlib.suppress(OSError):
                    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

        self._servers.append(await asyncio.start_server(through, sock=listener))

    async def _connect(self, machine: Machine, port: int):
        own = machine.socket()
        try:
            await self.loop.sock_connect(own, (machine.address, port))
        except OSError:
            own.close()
            raise
        return await asyncio.open_connection(sock=own)

    async def _until_ready(self, machine: Machine):
        end = self.loop.time() + READY_TIMEOUT
        while not await self._is_ready(machine):
            if not machine.runs():
                raise Unusable(f"{machine.name} ended; its log is {self.log(machine)}")
            if self.loop.time() > end:
                raise Unusable(f"{machine.name} is not ready; its log is {self.log(machine)}")
            await asyncio.sleep(0.05)

    async def _is_ready(self, machine: Machine) -> bool:
        port, question, answer = machine.ready
        try:
            reader, writer = await self._connect(machine, port)
            with contextlib.closing(writer):
                writer.write(question)
                told = await asyncio.wait_for(reader.readexactly(len(answer)), 5)
                return told == answer
        except (OSError, EOFError, asyncio.TimeoutError):
            return False

    def _listen_for_requests(self) -> socket.socket:
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = self.options.home / "ctl"
        path.unlink(missing_ok=True)
        control.bind(str(path))
        path.chmod(0o600)
        control.listen()
        control.setblocking(False)
        return control

    def _answer_request(self, control: socket.socket):
        try:
            client, _ = control.accept()
        except BlockingIOError:
            return
        client.settimeout(1)
        try:
            words = json.loads(client.recv(MAX_REQUEST))
            answer, files = self._do(*words)
        except (Unusable, TypeError, ValueError) as problem:
            answer, files = {"problem": str(problem)}, []
        except OSError:
            client.close()
            return
        passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
        with contextlib.suppress(OSError):
            client.sendmsg([json.dumps(answer).encode()], passed if files else [])
        if self.ended.is_set():
            self._waiting_for_the_end.append(client)
        else:
            client.close()

    def _do(self, word: str, *arguments: str):
        """What a request asks for: an answer, and files that go with it."""
        if word == "enter":
            machine = self.named(*arguments)
            user = os.open("/proc/self/ns/user", os.O_RDONLY)
            self.loop.call_soon(os.close, user)
            return {"rootless": os.geteuid() != 0}, [machine.namespace, user]
        if word in ("partition", "heal"):
            self._know(arguments)
            change = self.wan.cut if word == "partition" else self.wan.heal
            change(*arguments)
        elif word == "delay":
            here, there, milliseconds, *loss = arguments
            self._know((here, there))
            link = self.wan.link(here, there)
            link.delay = float(milliseconds) / 1000
            link.loss = float(loss[0]) / 100 if loss else link.loss
        elif word == "start":
            machine = self.named(*arguments)
            if not machine.runs():
                machine.start(self.log(machine))
        elif word == "stop":
            self.ended.set()
        elif word != "status":
            raise Unusable(f"{word} is nothing that a lab can do")
        return self.status(), []

    def _know(self, places: tuple):
        unknown = set(places) - self.wan.places()
        if unknown:
            known = ", ".join(sorted(self.wan.places()))
            raise Unusable(f"there is no place {', '.join(sorted(unknown))}; there are {known}")

    def status(self) -> dict:
        return {
            "pid": os.getpid(),
            "machines": {
                machine.name: {
                    "place": machine.place,
                    "address": machine.address,
                    "pid": machine.process.pid if machine.runs() else None,
                    "doors": self.doors.get(machine.name, {}),
                }
                for machine in self.machines()
            },
            "links": [
                {"between": sorted(pair), "delay_ms": link.delay * 1000, "loss": link.loss * 100}
                for pair, link in self.wan.links.items()
            ],
            "cuts": sorted(sorted(pair) for pair in self.wan.cuts),
            "packets": {"passed": self.wan.passed, "lost": self.wan.lost},
        }


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
    """Passes bytes on, and their end."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def _serve(options: Options, report, **settings) -> Optional[str]:
    lab = Lab(options, **settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        lab.loop.add_signal_handler(number, lab.ended.set)
    try:
        starting = asyncio.ensure_future(lab.start())
        ending = asyncio.ensure_future(lab.ended.wait())
        await asyncio.wait([starting, ending], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            return "stopped before it was up"
        starting.result()
        report(None)
        await ending
        return None
    except Unusable as problem:
        return str(problem)
    finally:
        await lab.stop()
        (options.home / "ctl").unlink(missing_ok=True)


def serve(options: Options, report, **settings):
    """Runs a lab until it is told to stop. `report` is told once: nothing, or why there is none."""
    problem = asyncio.run(_serve(options, report, **settings))
    if problem:
        report(problem)
        sys.exit(1)
