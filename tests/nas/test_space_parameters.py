"""Parameters of spaces as people write them, refused in our words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import netdyno
from netdyno.nas.space import SPACES, Space, make_space, parse_space

Refuses = Callable[[Callable[[], object]], str]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nasbench201:bogus=1", "no parameter 'bogus'; it has classes"),
        ("ofa-mobilenetv3:resolutions=nan", "not a number: 'nan'"),
        ("ofa-mobilenetv3:resolutions=48/inf", "not a number: 'inf'"),
        ("ofa-mobilenetv3:resolutions=48.5", "cannot be made with resolutions=48.5"),
        ("ofa-mobilenetv3:classes=2.5", "classes cannot be 2.5"),
        ("ofa-mobilenetv3:width=0.5,width=1", "width is given twice"),
        ("cnn-mnist:width=1/2", "cannot be made with width=[1, 2]"),
        ("fbnet:classes=" + "9" * 40, "classes must be"),
    ],
)
def test_what_no_space_takes(text: str, says: str, refuses: Refuses) -> None:
    assert says in refuses(lambda: parse_space(text))


@pytest.mark.parametrize("name", SPACES.names())
@pytest.mark.parametrize("value", [float("nan"), -1, 1e30, "x", None, [[]], "9" * 20])
def test_any_value_is_refused_in_our_words(name: str, value: object, refuses: Refuses) -> None:
    for key in ("classes", "resolution", "resolutions", "bogus"):
        message = refuses(lambda key=key: make_space(name, **{key: value}))  # type: ignore[misc]
        assert "argument" not in message and "iterable" not in message


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, float("nan"), "x"])
def test_seeds_of_every_entry_point(seed: int, narrow: Space, refuses: Refuses) -> None:
    X, y = narrow.sample(20, 0), narrow.macs(narrow.sample(20, 0)).astype(float)
    macs = netdyno.fit_cost(narrow, X, y, "linear").minimize()
    for action in (
        lambda: narrow.sample(3, seed),
        lambda: netdyno.fit_cost(narrow, X, y, "linear", seed=seed),
        lambda: netdyno.fit_accuracy(narrow, X, y, seed=seed),
        lambda: netdyno.search(narrow, [macs], evaluations=10, seed=seed),
        lambda: netdyno.search(narrow, [macs], evaluations=seed),
    ):
        assert "whole number from" in refuses(action)
