"""A federation rule inside another: everything is the inner rule's, but what the outer one defines."""

from __future__ import annotations

from fedmetric.errors import ConfigError
from fedmetric.federation.base import FederationRule

LENT = (
    "requires", "needs_public", "remembers", "may_forget", "own_encoders", "personal", "shares", "sends_extra",
    "local", "kept", "held", "receive", "start", "penalty", "correct", "send",
    "init", "broadcast", "broadcast_to", "figures", "weight", "check_extra", "begin", "fold", "finish", "distil",
)  # fmt: skip
"""All that a rule is made of; `aggregate` and `layout` follow from it."""


class WrappingRule(FederationRule):
    """A rule that lends everything from another; subclasses override what they change."""

    def __init__(self, inner: FederationRule) -> None:
        """Lend from a rule whatever the class of this one does not define.

        Args:
            inner: the rule.
        """
        super().__init__(inner.context)
        self.inner = inner
        own = {name for kind in type(self).__mro__ for name in vars(kind) if issubclass(kind, WrappingRule)}
        for name in LENT:
            if name not in own:
                setattr(self, name, getattr(inner, name))


def not_a_plain_mean(rule: FederationRule) -> list[str]:
    """List what a rule does with updates beside averaging them and working on the mean, in words."""
    does = {
        "adds updates up in its own way": ("begin", "fold"),
        "weighs updates by what is in them": ("weight",),
        "trains on public images": ("distil",),
        "tells clients different things": ("broadcast_to",),
    }
    found = [
        what
        for what, methods in does.items()
        if any(getattr(type(rule), method) is not getattr(FederationRule, method) for method in methods)
    ]
    if rule.sends_extra:
        found.append(f"sends {rule.shares}")
    if rule.personal:
        found.append("evaluates the clients' own networks")
    return found


def check_plain_mean(rule: FederationRule, name: str, wanted_by: str) -> None:
    """Refuse a rule that does more with updates than average them and work on the mean.

    Raises:
        ConfigError: names what it does.
    """
    if found := not_a_plain_mean(rule):
        raise ConfigError(
            f"privacy '{wanted_by}' works on the plain mean of the clients' moves, and federation.rule '{name}' "
            f"{' and '.join(found)}; use fedavg, or another rule that works on the mean alone, such as fedadam"
        )
