"""An attack that succeeds more often than the claimed guarantee allows proves that the code is broken.

C. Dwork, A. Roth, "The Algorithmic Foundations of Differential Privacy", 2014, definition 2.4, applied to the event
"the attack says member" and to its complement:

    TPR <= e^eps FPR + delta        and        1 - FPR <= e^eps (1 - TPR) + delta

P. Kairouz, S. Oh, P. Viswanath, "The Composition Theorem for Differential Privacy", ICML 2015, section 2, in rates.
The rates come with intervals, so that a guarantee is called broken only where chance does not explain the attack.
"""

from __future__ import annotations

import math

from fedmetric.errors import ConfigError, FedmetricError
from fedmetric.privacy.audit.intervals import clopper_pearson

SIGNIFICANCE = 0.001
"""The build fails on a broken guarantee: one false alarm in a thousand checks, not one in twenty."""


class BrokenGuaranteeError(FedmetricError):
    """Report an attack that is stronger than the privacy that a run claims: a defect of the privacy code."""


def epsilon_of_rates(tpr: float, fpr: float, delta: float) -> float:
    """Return the smallest epsilon that allows these rates at this delta.

    Args:
        tpr: true positive rate, 0 to 1; its lower confidence limit gives a lower bound on epsilon.
        fpr: false positive rate, 0 to 1; its upper confidence limit likewise.
        delta: 0 to 1.

    Returns:
        max(0, ln((TPR - delta) / FPR), ln((1 - FPR - delta) / (1 - TPR))), infinite where a divisor alone is 0.

    Raises:
        ConfigError: a rate or a delta outside [0, 1].
    """
    for name, value in (("tpr", tpr), ("fpr", fpr), ("delta", delta)):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name}={value:g}; give a number from 0 to 1")
    return max(0.0, _log_ratio(tpr - delta, fpr), _log_ratio(1 - fpr - delta, 1 - tpr))


def violates(tpr: float, fpr: float, epsilon: float, delta: float) -> bool:
    """Return whether these rates are impossible under (epsilon, delta)-DP.

    Args:
        tpr: lower confidence limit of the true positive rate.
        fpr: upper confidence limit of the false positive rate.
        epsilon: claimed, at least 0; nothing violates an infinite one.
        delta: claimed, 0 to 1.

    Raises:
        ConfigError: a rate or a delta outside [0, 1].
    """
    return epsilon_of_rates(tpr, fpr, delta) > epsilon


def require_rates(
    name: str,
    *,
    true_positives: int,
    num_members: int,
    false_positives: int,
    num_others: int,
    epsilon: float,
    delta: float,
    significance: float = SIGNIFICANCE,
) -> None:
    """Pass an attack whose rates the claimed guarantee allows, up to chance.

    Args:
        name: of the attack.
        true_positives: members above the threshold, which was fixed without looking at these scores.
        num_members: independent trials with the record, or client, in.
        false_positives: others above the threshold.
        num_others: independent trials with it out.
        epsilon: claimed for the relation of one in or out; twice the client's for one record replaced by another.
        delta: claimed.
        significance: chance that a sound guarantee is called broken.

    Raises:
        BrokenGuaranteeError: an attack above e^eps FPR + delta.
        ConfigError: more positives than trials, or a number out of range.
    """
    # one-sided limits of significance / 2 each: both hold with probability 1 - significance
    tpr = clopper_pearson(true_positives, num_members, 1 - significance).low
    fpr = clopper_pearson(false_positives, num_others, 1 - significance).high
    if violates(tpr, fpr, epsilon, delta):
        raise BrokenGuaranteeError(
            f"{name}: {true_positives} of {num_members} members and {false_positives} of {num_others} others found, so "
            f"TPR >= {tpr:.4g} at FPR <= {fpr:.4g}, which takes epsilon >= {epsilon_of_rates(tpr, fpr, delta):.4g}; "
            f"epsilon={epsilon:.4g} is claimed at delta={delta:.4g}: the privacy code is broken, do not release the run"
        )


def require_epsilon(name: str, audited: float, epsilon: float) -> None:
    """Pass an audit whose lower bound is not above the claimed epsilon.

    Args:
        name: of the audit.
        audited: lower bound on epsilon, at the delta of the claim; a bound of significance 0.05 is above the truth once
            in twenty sound runs, so a build wants a smaller one.
        epsilon: claimed.

    Raises:
        BrokenGuaranteeError: a bound above the claim.
    """
    if audited > epsilon:
        raise BrokenGuaranteeError(
            f"{name}: epsilon is {audited:.4g} at least, but {epsilon:.4g} is claimed: the privacy code is broken, do "
            "not release the run"
        )


def _log_ratio(above: float, below: float) -> float:
    if above <= 0:
        return -math.inf
    return math.log(above / below) if below > 0 else math.inf
