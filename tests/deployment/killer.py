"""Kill the process that conducts a run at a chosen moment, once: SIGKILL, as a power cut would.

The moments are those between which a crash could lose or double something. `sitecustomize` in the folder `killed` arms
this in every process that conducts a run; the variables say at which point of which round, and where to note that it
happened.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

POINT, ROUND, DONE = "FEDMETRIC_TEST_KILL", "FEDMETRIC_TEST_KILL_ROUND", "FEDMETRIC_TEST_KILLED"


def die() -> None:
    """End this process at once; a second time nothing happens."""
    done = Path(os.environ[DONE])
    if not done.exists():
        done.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)


def wanted_round() -> int:
    """Return the round in which to die."""
    return int(os.environ[ROUND])


def before(module: Any, name: str, when: Callable[..., bool]) -> None:
    """Die before a function is entered with arguments that `when` holds for."""
    original = getattr(module, name)

    def replaced(*arguments: Any, **named: Any) -> Any:
        if when(*arguments, **named):
            die()
        return original(*arguments, **named)

    setattr(module, name, replaced)


def after(module: Any, name: str, when: Callable[..., bool]) -> None:
    """Die after a function was left, if `when` holds for its arguments."""
    original = getattr(module, name)

    def replaced(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        if when(*arguments, **named):
            die()
        return result

    setattr(module, name, replaced)


def before_send() -> None:
    """Before the first request of the round is sent."""
    from fedmetric.server import exchange

    before(exchange, "_send", lambda clients, request: request.round == wanted_round())


def after_a_reply() -> None:
    """After the first reply of the round was folded in."""
    from fedmetric.server.intake import Intake

    after(Intake, "take", lambda intake, reply: intake._round == wanted_round())


def before_aggregation() -> None:
    """With all replies in, before they become weights."""
    from fedmetric.server.standing import Standing

    after(Standing, "after", lambda standing, *others, **named: _entered["round"] == wanted_round())
    _note_the_round()


_entered = {"round": 0}


def _note_the_round() -> None:
    from fedmetric.server import loop

    original = loop.run_round

    def replaced(clients: Any, plan: Any, round: int, *others: Any) -> Any:
        _entered["round"] = round
        return original(clients, plan, round, *others)

    loop.run_round = replaced


def after_aggregation() -> None:
    """With new weights in memory and nothing of them on disk."""
    from fedmetric.server import loop

    after(loop, "run_round", lambda clients, plan, round, *others: round == wanted_round())


def while_writing_the_checkpoint() -> None:
    """Between two files of the checkpoint."""
    from fedmetric.server import checkpoints

    after(checkpoints, "save_arrays", lambda path, arrays: path.parent.name == f".writing-{wanted_round():04d}")


def after_the_rename() -> None:
    """With the checkpoint in its place, before its event is written."""
    from fedmetric.server import loop

    after(loop, "save_checkpoint", lambda folder, checkpoint: checkpoint.round == wanted_round())


def before_the_metrics() -> None:
    """Before the round's line goes into events.jsonl."""
    from fedmetric.runs import RunFolder

    before(RunFolder, "append", lambda run, event: event["event"] == "round" and event["round"] == wanted_round())


def before_the_summary() -> None:
    """With everything done but the summary."""
    from fedmetric.runs import RunFolder

    before(RunFolder, "write_summary", lambda run, summary: summary["rounds"] == wanted_round())


POINTS = {
    function.__name__: function
    for function in (
        before_send,
        after_a_reply,
        before_aggregation,
        after_aggregation,
        while_writing_the_checkpoint,
        after_the_rename,
        before_the_metrics,
        before_the_summary,
    )
}


def arm() -> None:
    """Arrange for the point that the environment names."""
    POINTS[os.environ[POINT]]()
