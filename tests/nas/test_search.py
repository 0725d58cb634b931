from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.base.errors import UnknownName
from netdyno.base.objective import Objective
from netdyno.nas import pareto
from netdyno.nas.search import search
from netdyno.nas.search.front import Front, load_front
from netdyno.nas.spaces.nasbench201 import NasBench201
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3

Refuses = Callable[[Callable[[], object]], str]
Survives = Callable[[Callable[[], object]], None]

METHODS = ("ofa2", "sms-emoa", "spea2", "random")


def test_ofa2_beats_random_search(space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    reference = (1.5, 30.0)
    volumes = {
        method: [search(space, objectives, method, 3000, seed=seed).hypervolume(reference) for seed in range(3)]
        for method in METHODS
    }
    for method in METHODS[:-1]:
        assert min(volumes[method]) > 1.1 * max(volumes["random"])


def test_one_and_three_objectives(space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    single = search(space, objectives[:1], "ofa2", 3000, seed=0)
    assert len(single) == 1
    assert single.F[0, 0] < 1.2 * objectives[0].evaluate(space.smallest())[0]
    third = Objective("params", lambda X: space.params(X) / 1e6)
    many = search(space, [*objectives, third], "ofa2", 1000, seed=0)
    assert not pareto.dominance(many.F).any()
    assert many.hypervolume((2, 30, 10)) > 0


def test_progress_is_told(space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    told: list[int] = []
    search(space, objectives, "random", 2500, progress=lambda stage, done, total, note="": told.append(done))
    assert told[-1] == 2500
    assert told == sorted(told)


def test_time_that_is_up(space: OfaMobileNetV3, tmp_path: Path) -> None:
    """Nothing new is evaluated, by the same search again neither; with more time it goes on."""
    asked: list[int] = []

    def slow(X: np.ndarray) -> np.ndarray:
        time.sleep(0.05)
        asked.append(len(X))
        return space.macs(X) / 1e6

    def run(limit_s: float) -> Front:
        asked.clear()
        options = {"journal": tmp_path / "journal.sqlite", "step": 0.2, "limit_s": limit_s}
        return search(space, [Objective("mmacs", slow)], "random-walk", 100, **options)

    first = run(1.0)
    assert 2 <= first.evaluations <= 20 == len(asked) + 20 - first.evaluations
    again = run(1.0)
    assert not asked
    np.testing.assert_array_equal(again.X, first.X)
    assert run(2.0).evaluations > first.evaluations and asked
    assert search(space, [Objective("mmacs", slow)], "random-walk", 100, limit_s=0.0).evaluations == 1


def test_what_cannot_be_searched(space: OfaMobileNetV3, objectives: list[Objective], refuses: Refuses) -> None:
    refuses(lambda: search(space, objectives, evaluations=0))
    refuses(lambda: search(space, [], evaluations=10))
    assert "beauty" in refuses(lambda: search(space, objectives, evaluations=10, beauty=3))
    refuses(lambda: search(space, objectives, evaluations=10, population=0))
    broken = Objective("broken", lambda X: np.full(len(X), np.nan))
    assert "broken" in refuses(lambda: search(space, [objectives[0], broken], evaluations=10))
    assert "make the others constraints" in refuses(lambda: search(space, objectives, "ofa", 10))
    with pytest.raises(UnknownName, match="did you mean 'random'"):
        search(space, objectives, method="randon")


@pytest.mark.parametrize("wrong", ["many", 1.5, None, True, [100]])
def test_settings_are_of_their_type(
    wrong: object, space: OfaMobileNetV3, objectives: list[Objective], refuses: Refuses
) -> None:
    assert "population" in refuses(lambda: search(space, objectives, evaluations=10, population=wrong))
    assert "predicted" in refuses(lambda: search(space, objectives, "linas", 10, predicted=[3]))
    right = {"population": np.int64(5), "mutation": 1, "children": None}
    assert search(space, objectives, evaluations=10, **right).evaluations == 10


def test_errors_of_an_objective_are_its_own(space: OfaMobileNetV3) -> None:
    def fail(X: np.ndarray) -> np.ndarray:
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        search(space, [Objective("x", fail)], evaluations=5)


# On disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def front(narrow: OfaMobileNetV3) -> Front:
    objectives = [
        Objective("macs, of all", lambda X: narrow.macs(X) / 3),
        Objective("error_pct", lambda X: 100 - narrow.params(X) / 1e4),
    ]
    return search(narrow, objectives, "random", 200)


def test_a_saved_front_is_read_back(front: Front, narrow: OfaMobileNetV3, tmp_path: Path) -> None:
    front.save(tmp_path / "front.csv")
    read = load_front(tmp_path / "front.csv", narrow)
    assert len(read) == len(front) > 1
    assert read.objectives == front.objectives
    np.testing.assert_array_equal(read.X, front.X)
    np.testing.assert_array_equal(read.F, front.F)


def test_a_reference_point_has_a_value_an_objective(front: Front, refuses: Refuses) -> None:
    refuses(lambda: front.hypervolume((1.0,)))


GENES = ",".join(f"x{i}" for i in range(46))
ZEROS = ",".join(["0"] * 46)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        GENES,
        f"a,b,{GENES}\n",
        f"{GENES}\n{ZEROS}\n",
        f"a,b,{GENES}\n1,{ZEROS}\n",
        f"a,b,{GENES}\n1,2,3,{ZEROS}\n1,2,3,{ZEROS}\n",
        f"a,b,{GENES}\n1,x,{ZEROS}\n",
        f"a,b,{GENES}\n1,nan,{ZEROS}\n",
        f"a,b,{GENES}\n1,2,9{ZEROS}\n",
        f"a,b,{GENES}\n1,2,-{ZEROS[1:]}1\n",
        f"a,b,{GENES}\n1,2,{'9' * 30}{ZEROS[1:]}\n",
        f"a,b,{GENES}\n1,2,{'9' * 5000}{ZEROS[1:]}\n",
        f"a,b,{GENES}\n1,2,0.5{ZEROS[1:]}\n",
        f'a,b,{GENES}\n1,2,"{ZEROS}\n',
        f"a,b,{GENES}\n{'1' * 200_000}\n",
    ],
    ids=lambda text: f"{len(text)}-{text[-12:]!r}",
)
def test_what_is_no_front(text: str, narrow: OfaMobileNetV3, tmp_path: Path, refuses: Refuses) -> None:
    (tmp_path / "front.csv").write_text(text)
    refuses(lambda: load_front(tmp_path / "front.csv", narrow))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_fronts(
    data: st.DataObject, front: Front, narrow: OfaMobileNetV3, tmp_path: Path, survives: Survives
) -> None:
    path = tmp_path / "front.csv"
    front.save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 9))] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b",", b"\n", b'"', b"9" * 25])
        )
    path.write_bytes(content)
    survives(lambda: load_front(path, narrow))


def test_values_whose_hypervolume_no_float_holds_are_searched() -> None:
    told: list[str] = []
    space = NasBench201()
    objectives = [
        Objective("up", lambda X: 1e200 * X.sum(axis=1)),
        Objective("down", lambda X: -1e200 * X.sum(axis=1)),
    ]

    def progress(what: str, done: int, total: int, note: str) -> None:
        told.append(note)

    front = search(space, objectives, "random", 100, seed=0, progress=progress)
    assert len(front) > 2 and told[-1] == f"{len(front)} on the front"
