"""Which objectives and rules work together, told from what both say about themselves, before torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedmetric.registry import Component, distances, objectives, rules


def groups_of(objective: Component) -> tuple[str, ...]:
    """List the groups of an objective's heads; those of an objective made of parts are named "part.group"."""
    own = _own_groups(objective.model_dump())
    for part in _parts(objective):
        own += tuple(f"{part['name']}.{group}" for group in _own_groups(part))
    return own


def _own_groups(section: Mapping[str, Any]) -> tuple[str, ...]:
    """List the groups of one objective: those of its class, and its distance if that is learned."""
    own: tuple[str, ...] = objectives[section["name"]].traits.get("groups", ())
    distance = section.get("distance")
    learned = isinstance(distance, dict) and distances[distance["name"]].traits.get("learned", False)
    return (*own, "distance") if learned else own


def parts_of(objective: Component) -> list[str]:
    """List the names of the objectives that an objective is made of; none for most."""
    return [part["name"] for part in _parts(objective)]


def _parts(objective: Component) -> list[Mapping[str, Any]]:
    if not objectives[objective.name].traits.get("composite"):
        return []
    return [{"name": part} if isinstance(part, str) else part for part in getattr(objective, "parts", ())]


def learns_without_labels(objective: Component) -> bool:
    """Return whether a client without any label has something to learn in every round."""
    parts = parts_of(objective)
    if not parts:
        return not objectives[objective.name].traits.get("needs_labels", False)
    free = [not objectives[name].traits.get("needs_labels", False) for name in parts]
    rows = [stage["weights"] for stage in getattr(objective, "stages", ())] or [getattr(objective, "weights", ())]
    return all(any(weight for weight, one in zip(row, free, strict=True) if one) for row in rows)


def only_rule(objective: Component) -> str:
    """Return the only rule that an objective, or a part of it, works under; "" for any."""
    named = (objectives[name].traits.get("rule") for name in (objective.name, *parts_of(objective)))
    return next((rule for rule in named if rule), "")


def fits(objective: Component, rule: Component) -> bool:
    """Return whether an objective can be trained under a rule."""
    return misfit(objective, rule) == ""


def misfit(objective: Component, rule: Component, target: str = "default") -> str:
    """Say why an objective and a rule cannot work together and what to change; "" when they can."""
    groups = groups_of(objective)
    missing = [group for group in rules[rule.name].traits.get("requires", ()) if group not in groups]
    if missing:
        able = [
            name
            for name, entry in objectives.items()
            if set(rules[rule.name].traits["requires"]) <= set(entry.traits.get("groups", ()))
        ]
        return (
            f"federation.rule '{rule.name}' works on the {' and '.join(missing)} of the objective, and objective "
            f"'{objective.name}' has none; choose another rule, or one of the objectives {', '.join(able)}"
        )
    wanted = only_rule(objective)
    if wanted not in ("", rule.name):
        return f"objective '{objective.name}' works under federation.rule '{wanted}' only, not under '{rule.name}'"
    if target != "default" and not any(group.rpartition(".")[2] == "target" for group in groups):
        return f"federation.target is '{target}', but objective '{objective.name}' has no target; leave it 'default'"
    return ""
