"""What tells a phone's energy: its power rails where they can be read, else its battery, while nothing charges it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from netdyno.base.closing import Closing
from netdyno.base.errors import MeasurementInvalid
from netdyno.devices.android.battery import BatteryMeter, Source, not_alone, parse_reading, read_supplies, sources
from netdyno.devices.android.find import connect
from netdyno.devices.android.loop import Loop
from netdyno.devices.android.rails import DRIVER_SCRIPT, HAL_SCRIPT, RailMeter, parse_driver, parse_hal
from netdyno.devices.android.transport import Transport
from netdyno.devices.meters import Meter

_LOGGER = logging.getLogger("netdyno")
NO_SERVER = "energy over USB needs an adb server (adb start-server)"


@dataclass(frozen=True)
class _Open:
    """A meter, the loop that reads for it, and why there is no better one."""

    meter: Meter
    loop: Loop
    reasons: tuple[str, ...]


class PhoneEnergy(Closing):
    """The meter of a phone, looked for when it is asked for.

    It has a connection of its own: on that of the models, which are waited for there, readings would wait with them.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._own: Transport | None = None
        self._open: _Open | None = None
        self._problems: list[str] | None = None
        self._invalid = ""

    def meters(self) -> tuple[Meter, ...]:
        """The best meter that tells something now, which is the same one as long as it does.

        Raises:
            DeviceError: the phone is lost.
        """
        kept, self._problems, self._invalid = self._open, [], ""
        if kept is None or not kept.loop.alive:
            self.close()
            self._open = self._find()
        else:
            self._invalid = not_alone(*read_supplies(self._transport)) if kept.meter.name == BatteryMeter.name else ""
            self._problems += [*kept.reasons, *([self._invalid] if self._invalid else [])]
        return () if self._open is None or self._invalid else (self._open.meter,)

    def problems(self) -> list[str]:
        """Why there is no better meter, a line each."""
        if self._problems is None:
            self.meters()
        return list(self._problems or ())

    def invalid(self) -> str:
        """Why what the battery tells means nothing now, where it could tell something; else empty."""
        if self._problems is None:
            self.meters()
        return self._invalid

    def close(self) -> None:
        """End what reads; a second call does nothing."""
        if self._open is not None:
            self._open.loop.close()
        if self._own is not None:
            self._own.close()
        self._open = self._own = None

    def _find(self) -> _Open | None:
        assert self._problems is not None
        if self._transport.way == "USB":
            self._problems.append(NO_SERVER)
            return None
        self._own = connect(self._transport.serial)
        for script, make in self._ways():
            with ExitStack() as stack:
                loop = stack.enter_context(Loop(self._own, script))
                try:
                    meter = make(loop)
                except MeasurementInvalid as error:
                    if str(error) not in self._problems:
                        self._problems.append(str(error))
                    continue
                stack.pop_all()
            _LOGGER.info("%s: energy by %s: %s", self._transport.serial, meter.name, meter.note)
            return _Open(meter, loop, tuple(self._problems))
        self.close()
        return None

    def _ways(self) -> Iterator[tuple[str, Callable[[Loop], Meter]]]:
        """What to try, best first: a script, and the meter of a loop that runs it."""
        yield DRIVER_SCRIPT, lambda loop: RailMeter("odpm", loop.ask, parse_driver)
        yield HAL_SCRIPT, lambda loop: RailMeter("powerstats", loop.ask, parse_hal)
        supplies, said = read_supplies(self._transport)
        for source in sources(supplies):
            yield source.script, partial(self._battery, source, not_alone(supplies, said))

    def _battery(self, source: Source, why: str, loop: Loop) -> Meter:
        parse_reading(source, loop.ask().text)  # where there is no current, pulling a plug brings none
        try:
            if why:
                raise MeasurementInvalid(why)
            meter = BatteryMeter(source, loop.ask)
        except MeasurementInvalid as error:
            self._invalid = self._invalid or str(error)
            raise
        self._invalid = ""
        return meter
