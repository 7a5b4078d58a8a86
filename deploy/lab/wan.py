"""The network between machines: packets take their time, get lost, or do not pass at all.

Each machine has a TUN device. What its kernel sends comes out here, as whole IPv4 packets with their
checksums, and goes into the device of the machine whose address it bears, once its delay is over. So
neither netem, which many kernels lack, nor a bridge nor root is needed.
"""

import asyncio
import os
import random
from dataclasses import dataclass

# Packets on their way at once; more are lost, as in a router.
QUEUE = 20_000

# Packets taken from one machine before others have their turn.
BURST = 64

MAX_PACKET = 65_535


@dataclass
class Link:
    """What happens between two places, in either direction."""

    delay: float = 0.0  # seconds, one way
    loss: float = 0.0  # a share, 0 to 1


@dataclass
class Port:
    """Where a machine is plugged in."""

    place: str
    device: int


class Wan:
    """The network. Places are regions and what stands outside of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int = 1):
        self.links: dict[frozenset, Link] = {}
        self.cuts: set[frozenset] = set()
        self.passed = self.lost = self.flying = 0
        self._loop = loop
        self._ports: dict[bytes, Port] = {}
        self._random = random.Random(seed)

    def join(self, address: bytes, place: str, device: int):
        """Plugs a machine in. Its device must not block."""
        port = self._ports[address] = Port(place, device)
        self._loop.add_reader(device, self._receive, port)

    def places(self) -> set:
        return {port.place for port in self._ports.values()}

    def link(self, here: str, there: str) -> Link:
        """Between two places; a place and itself are next to each other unless told otherwise."""
        return self.links.setdefault(frozenset((here, there)), Link())

    def cut(self, place: str, other: str = None):
        """Lets nothing pass between a place and another, or all others."""
        others = [other] if other else self.places() - {place}
        self.cuts.update(frozenset((place, other)) for other in others)

    def heal(self, place: str = None, other: str = None):
        """Undoes that: all of it, what concerns a place, or what two places."""
        ends = {end for end in (place, other) if end}
        self.cuts = {pair for pair in self.cuts if not ends <= pair}

    def _receive(self, port: Port):
        for _ in range(BURST):
            try:
                packet = os.read(port.device, MAX_PACKET)
            except BlockingIOError:
                return
            self._pass(port, packet)

    def _pass(self, source: Port, packet: bytes):
        # IPv4 only: the other kind is what kernels say of themselves when a device comes up.
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return
        target = self._ports.get(packet[16:20])
        if target is None:
            return
        pair = frozenset((source.place, target.place))
        link = self.links.get(pair) or Link()
        if pair in self.cuts or self.flying >= QUEUE or self._random.random() < link.loss:
            self.lost += 1
            return
        self.flying += 1
        if link.delay:
            self._loop.call_later(link.delay, self._deliver, target.device, packet)
        else:
            self._deliver(target.device, packet)

    def _deliver(self, device: int, packet: bytes):
        self.flying -= 1
        try:
            os.write(device, packet)
            self.passed += 1
        except OSError:  # its queue is full
            self.lost += 1
