"""Which rails of a Jetson board make up its total, which feed the GPU, and which the CPU.

Rails carry the names of the kernel's device trees; ``tegrastats`` shortens some of them. Names and scopes:
NVIDIA's Jetson Linux Developer Guide (R32, R35, R36, R38), "Power Monitors" of each board.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Board:
    """A board's rails, by exact name.

    ``total`` holds the ways to the total, the first of which all rails are there counts: a single rail where one
    feeds the whole module, or those that feed its parts side by side. ``gpu`` and ``cpu`` are the names of the rail
    that feeds each; one that stands in both feeds both, and cannot tell them apart. ``models`` begin the names by
    which the device tree calls it.
    """

    name: str
    models: tuple[str, ...]
    total: tuple[tuple[str, ...], ...]
    gpu: tuple[str, ...]
    cpu: tuple[str, ...]

    def total_rails(self, names: Collection[str]) -> tuple[str, ...]:
        """Those of ``names`` whose sum is the total; none where one of them is missing."""
        return next((rails for rails in self.total if set(rails) <= set(names)), ())

    def total_mw(self, rails_mw: Mapping[str, float]) -> float | None:
        """The total of a reading in mW; None where it cannot be told."""
        rails = self.total_rails(rails_mw)
        return sum(rails_mw[name] for name in rails) if rails else None


_INPUT = (("VDD_IN",),)
_SHARED = ("VDD_CPU_GPU_CV",)
_AGX_ORIN = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")  # the last one is I/O, not the input of the board

BOARDS = (
    Board(
        "Jetson Nano",
        ("NVIDIA Jetson Nano", "jetson-nano"),
        (("POM_5V_IN",),),
        ("POM_5V_GPU",),
        ("POM_5V_CPU",),
    ),
    Board("Jetson TX1", ("NVIDIA Jetson TX1", "jetson_tx1", "jetson-tx1"), _INPUT, ("VDD_GPU",), ("VDD_CPU",)),
    Board("Jetson TX2 NX", ("NVIDIA Jetson TX2 NX", "lanai"), _INPUT, ("VDD_CPU_GPU",), ("VDD_CPU_GPU",)),
    Board(
        "Jetson TX2",
        ("NVIDIA Jetson TX2", "quill"),
        _INPUT,
        ("VDD_SYS_GPU", "VDD_GPU"),
        ("VDD_SYS_CPU", "VDD_CPU"),
    ),
    Board("Jetson Xavier NX", ("NVIDIA Jetson Xavier NX",), _INPUT, _SHARED, _SHARED),
    Board(
        "Jetson AGX Xavier",
        ("NVIDIA Jetson AGX Xavier", "NVIDIA Jetson Xavier", "Jetson-AGX"),
        (("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),),
        ("GPU",),
        ("CPU",),
    ),
    Board("Jetson Orin Nano", ("NVIDIA Jetson Orin Nano", "NVIDIA Orin Nano"), _INPUT, _SHARED, _SHARED),
    Board("Jetson Orin NX", ("NVIDIA Jetson Orin NX", "NVIDIA Orin NX"), _INPUT, _SHARED, _SHARED),
    Board(
        "Jetson AGX Orin",
        ("NVIDIA Jetson AGX Orin", "Jetson AGX Orin"),
        ((*_AGX_ORIN, "VDDQ_VDD2_1V8AO"), _AGX_ORIN),
        ("VDD_GPU_SOC",),
        ("VDD_CPU_CV",),
    ),
    Board(
        "Jetson Thor",
        ("NVIDIA Jetson AGX Thor", "NVIDIA Jetson Thor", "NVIDIA Thor"),
        (("VIN",), ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0")),
        ("VDD_GPU",),
        ("VDD_CPU_SOC_MSS",),
    ),
)


def find_board(names: Collection[str], model: str = "") -> Board | None:
    """The board of a device tree's model or, without one that has these rails, the first that has them.

    Boards that share their rails' names share their total too; None where no board has such rails.
    """
    fitting = [board for board in BOARDS if board.total_rails(names)]
    of_model = (board for board in BOARDS if model.startswith(board.models))
    return next((board for board in of_model if board in fitting), fitting[0] if fitting else None)
