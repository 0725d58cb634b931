"""Addresses such as ``ssh://user@host:22/cuda:0?python=/opt/python3``."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass

from netdyno.base.errors import InputError

_OPTIONS = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=15", "ControlMaster=no")
_IDENTIFIER = re.compile(
    r"ssh://(?P<target>(?:[\w.+-]+@)?(?:[\w][\w.-]*|\[[0-9a-fA-F:.%]+\]))(?::(?P<port>\d{1,5}))?"
    r"/(?P<device>[\w:.-]+)(?:\?python=(?P<python>[\w./~+-]+))?",
    re.ASCII,
)
_FORMS = "ssh://USER@HOST:PORT/cpu?python=/usr/bin/python3, all but host and device optional"


@dataclass(frozen=True)
class Address:
    """The parts of an identifier such as ``ssh://user@host:22/cpu?python=/opt/python3``."""

    target: str
    port: str
    device: str
    python: str

    def anonymous(self) -> str:
        """The device's name in tables, which tells it from others and says nothing of people or hosts."""
        return f"ssh:{hashlib.sha256(f'{self.target}:{self.port}'.encode()).hexdigest()[:8]}/{self.device}"

    @property
    def of_gpu(self) -> bool:
        """Whether the device is an NVIDIA GPU."""
        return self.device.partition(":")[0] == "cuda"

    def command(self, length: int, *arguments: str) -> list[str]:
        """What starts the agent there; it reads its own text, of this length, from its standard input."""
        program = (
            'import json,os,sys;sys.path[:]=[p for p in sys.path if p];s=b"";'
            f'exec("while len(s)<{length}:s+=os.read(0,{length}-len(s)) or os._exit(3)");'
            'f,t=json.loads(s.decode());g={};exec(compile(f,"netdyno agent","exec"),g);g["run"](t,*sys.argv[1:])'
        )
        remote = f"exec {self.python} -u -c {shlex.quote(program)} {shlex.join(arguments)}"
        port = ("-p", self.port) if self.port else ()
        options = [word for option in _OPTIONS for word in ("-o", option)]
        return ["ssh", "-T", *options, *port, "--", self.target.replace("[", "").replace("]", ""), remote]


def parse_address(identifier: str) -> Address:
    """The parts of an identifier.

    Raises:
        InputError: it is none.
    """
    found = _IDENTIFIER.fullmatch(identifier)
    if identifier == "ssh":
        raise InputError(f"which machine? {_FORMS}", device=identifier)
    if found is None:
        raise InputError(f"not an address: {identifier!r}; it is {_FORMS}", device=identifier)
    return Address(found["target"], found["port"] or "", found["device"], found["python"] or "python3")
