"""A plan as JSON, and back: what the parent tells its workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openbell.loadprofiles.plan import LoadPlan, Weighted
from openbell.loadprofiles.shape import all_shapes


def plan_json(plan: LoadPlan) -> dict[str, Any]:
    """All that a worker needs to make the same plan."""
    return {"shape": plan.profile.name, "peak": plan.peak, "duration": plan.duration, "process": plan.process,
            "seed": plan.seed, "operations": [[w.names, w.bounds] for w in plan.operations],
            "principals": plan.principals}


def plan_from(data: Mapping[str, Any]) -> LoadPlan:
    """The same plan again."""
    operations = tuple(Weighted(tuple(names), tuple(bounds)) for names, bounds in data["operations"])
    return LoadPlan(all_shapes()[data["shape"]], data["peak"], data["duration"], data["process"], data["seed"],
                    operations, tuple(data["principals"]))
