"""How far a run is, from its folder alone: for people, for scripts, and for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedmetric.runs import RunFolder


def status_of(folder: RunFolder, conducted: bool) -> dict[str, Any]:
    """Return the status of a run as plain values.

    Args:
        folder: of the run.
        conducted: whether a living process works on it.

    Returns:
        "state" ("waiting", "running", "stopped", "done", "failed" or "interrupted"), "round" of "rounds", counts of
        clients and bytes over all rounds, the last round's loss and figures, and "problems", oldest first.
    """
    events, summary = folder.events(), folder.summary()
    rounds = [event for event in events if event["event"] == "round"]
    state = summary["status"] if summary else "stopped"
    if not summary and conducted:
        state = "running" if rounds else "waiting"
    last = rounds[-1] if rounds else {}
    measured = [event for event in events if event["event"] == "evaluation"]
    scores = measured[-1]["scores"] if measured else {}
    problems = [failure for event in rounds for failure in event["failures"]]
    problems += [f"round {event['round']} did not count" for event in rounds if not event.get("counted", True)]
    problems += [event["text"] for event in events if event["event"] in ("warning", "alarm")]
    problems += [summary["error"]] if summary and summary.get("error") else []
    return {
        "state": state,
        "round": last.get("round", 0),
        "rounds": folder.experiment.federation.rounds,
        "clients_ok": last.get("ok", 0),
        "clients_failed": last.get("failed", 0),
        "failures": sum(event["failed"] for event in rounds),
        "not_counted": sum(not event.get("counted", True) for event in rounds),
        "loss": last.get("loss"),
        "bytes_up": sum(event["bytes_up"] for event in rounds),
        "bytes_down": sum(event["bytes_down"] for event in rounds),
        "seconds_a_round": sum(event["seconds"] for event in rounds) / len(rounds) if rounds else None,
        "scores": {name: score["mean"] for name, score in scores.items() if score["mean"] is not None},
        "problems": problems,
    }


SHOWN_PROBLEMS = 5
SHOWN_SCORES = ("recall@1", "map@r", "verification_eer")


def lines_of(status: Mapping[str, Any], name: str) -> list[str]:
    """Write a status in a few lines of at most 80 columns where names allow."""
    counts = f"round {status['round']} of {status['rounds']}"
    lines = [f"{name}: {status['state']}, {counts}"]
    if status["round"]:
        loss = "-" if status["loss"] is None else f"{status['loss']:.3f}"
        lines.append(
            f"  last round: {status['clients_ok']} clients ok, {status['clients_failed']} lost, loss {loss}; "
            f"{status['seconds_a_round']:.0f} s a round"
        )
        lines.append(f"  {status['bytes_up'] / 1e6:.1f} MB up, {status['bytes_down'] / 1e6:.1f} MB down in all")
    scores = [f"{key} {100 * status['scores'][key]:.1f}" for key in SHOWN_SCORES if key in status["scores"]]
    if scores:
        lines.append(f"  {', '.join(scores)}")
    problems: Sequence[str] = status["problems"]
    lines += [f"  ! {problem}" for problem in problems[-SHOWN_PROBLEMS:]]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"  ! and {len(problems) - SHOWN_PROBLEMS} earlier ones")
    return lines


COUNTED = {
    "round": ("gauge", "last finished round"),
    "rounds": ("gauge", "rounds of the run"),
    "clients_ok": ("gauge", "clients whose update counted in the last round"),
    "clients_failed": ("gauge", "clients lost in the last round"),
    "failures": ("counter", "clients lost in all rounds"),
    "not_counted": ("counter", "rounds without enough clients"),
    "loss": ("gauge", "mean local loss of the last round"),
    "bytes_up": ("counter", "weights received, in bytes"),
    "bytes_down": ("counter", "weights sent, in bytes"),
    "seconds_a_round": ("gauge", "mean length of a round, in seconds"),
}
STATES = ("waiting", "running", "stopped", "done", "failed", "interrupted")


def prometheus_of(status: Mapping[str, Any], name: str) -> str:
    """Write a status in Prometheus' text format, for its node exporter's text-file collector."""
    label = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    lines = []
    for key, (kind, description) in COUNTED.items():
        if status[key] is not None:
            full = f"fedmetric_{key}" + ("_total" if kind == "counter" else "")
            lines += [f"# HELP {full} {description}", f"# TYPE {full} {kind}", f'{full}{{run="{label}"}} {status[key]}']
    lines += ["# HELP fedmetric_state 1 for the state that the run is in", "# TYPE fedmetric_state gauge"]
    lines += [f'fedmetric_state{{run="{label}",state="{state}"}} {int(state == status["state"])}' for state in STATES]
    if status["scores"]:
        lines += ["# HELP fedmetric_score on classes nobody trains on", "# TYPE fedmetric_score gauge"]
        scores = sorted(status["scores"].items())
        lines += [f'fedmetric_score{{run="{label}",score="{key}"}} {value}' for key, value in scores]
    return "\n".join(lines) + "\n"
