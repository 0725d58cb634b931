"""NVIDIA Jetson boards: their state, and what power their rails draw."""

from netdyno.devices.jetson.boards import BOARDS, Board, find_board
from netdyno.devices.jetson.rails import Monitors, find_monitors
from netdyno.devices.jetson.tegrastats import Tegrastats, parse_tegrastats

__all__ = ["BOARDS", "Board", "Monitors", "Tegrastats", "find_board", "find_monitors", "parse_tegrastats"]
