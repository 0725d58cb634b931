"""What a table says of its own error, in a line a metric and set of networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NOTED_PCT = 5.0
"""Share of visits when a device was slow, from which it is told."""
_SETS = {"unseen": "unseen random networks", "between": "networks at sizes between the measured ones"}


def error_lines(conditions: Mapping[str, Any]) -> Iterator[str]:
    """Lines for people; what is malformed in a stranger's table is left out."""
    for metric, stated in _items(conditions.get("validation")):
        for name, text in _SETS.items():
            errors = dict(_items(dict(_items(stated)).get(name)))
            best = dict(_items(errors.get("calibrated", errors.get("isolated"))))
            if not _is_number(best.get("mape_pct")):
                continue
            line = f"{metric}: off by {best['mape_pct']:.2f} % (MAPE) on {errors.get('networks')} {text}"
            yield line + "".join(f", {fact}" for fact in _facts(errors, best))
    slowed_pct: Any = conditions.get("slowed_visits_pct")
    if _is_number(slowed_pct) and slowed_pct >= NOTED_PCT:
        yield f"the device was slow at {slowed_pct:.0f} % of visits, which is taken off"


def _facts(errors: Mapping[str, Any], best: Mapping[str, Any]) -> Iterator[str]:
    if _is_number(best.get("rmspe_pct")):
        yield f"RMSPE {best['rmspe_pct']:.2f} %"
    for label, key in (("Spearman", "spearman"), ("τ", "kendall_tau")):
        if _is_number(best.get(key)):
            yield f"{label} {best[key]:.3f}"
    if _is_number(errors.get("noise_floor_pct")):
        yield f"noise floor {errors['noise_floor_pct']:.2f} %"
    isolated = dict(_items(errors.get("isolated")))
    if "calibrated" in errors and _is_number(isolated.get("mape_pct")):
        yield f"the plain sum of isolated layers {isolated['mape_pct']:.2f} %"


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    yield from value.items() if isinstance(value, dict) else ()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e30
