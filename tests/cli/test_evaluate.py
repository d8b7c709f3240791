"""`fedmetric eval`: tasks by one setting, several data sets, groups."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command import Command
from tiny import TINY

VERIFICATION = ("verification_auc", "verification_eer", "verification_tar@1%", "verification_accuracy")


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Path:
    path, folder = tmp_path / "tiny.toml", tmp_path / "run"
    path.write_text(TINY)
    words = ("--set", "federation.rounds=0", "--set", 'evaluation.tasks=["verification", "identification"]')
    answer = command("run", str(path), "--out", str(folder), "--workers", "1", *words)
    assert answer.code == 0, answer.err
    return folder


def test_one_setting_brings_verification_into_the_summary_the_table_and_the_evaluation(
    command: Command, run: Path
) -> None:
    summary = json.loads((run / "summary.json").read_text())["evaluation"]
    for row in ("trained", "pixels", "random"):
        assert set(summary[row]) >= {*VERIFICATION, "cmc@1", "dir@far10%"}
        assert "recall@1" not in summary[row]
        assert 0.5 < summary[row]["verification_auc"]["mean"] < 1
    shown = command("eval", str(run)).out
    for title in ("verification AUC", "EER (low is good)", "TAR at FAR 0.1%", "CMC rank 1", "DIR at FAR 10%"):
        assert title in shown
    again = json.loads(command("eval", str(run), "--json").out)
    assert set(again) == {"evaluation"}
    for name in VERIFICATION:
        assert again["evaluation"]["trained"][name]["mean"] == pytest.approx(summary["trained"][name]["mean"])


def test_a_setting_of_the_evaluation_command_adds_clusters_and_a_re_ranking(command: Command, run: Path) -> None:
    words = ("--set", 'evaluation.tasks=["retrieval", "clustering"]', "--set", "evaluation.rerank=k-reciprocal")
    rows = json.loads(command("eval", str(run), "--json", *words).out)["evaluation"]
    assert {"recall@1", "recall@1_reranked", "map@r_reranked", "nmi", "ami", "ari", "purity"} <= set(rows["trained"])
    assert rows["pixels"]["map@r_reranked"]["mean"] > rows["pixels"]["map@r"]["mean"]


def test_several_data_sets_are_keyed_by_name_and_each_has_its_table(command: Command, run: Path) -> None:
    words = ("eval", str(run), "--on", "digits", "--on", "glyphs", "--set", 'evaluation.tasks=["retrieval"]')
    found = json.loads(command(*words, "--json").out)
    assert list(found) == ["digits", "glyphs"]
    assert found["digits"]["evaluation"]["pixels"] != found["glyphs"]["evaluation"]["pixels"]
    shown = command(*words).out
    assert shown.count("Recall@1 ") >= 2
    assert f"{run} on digits:".replace(" ", "") in shown.replace(" ", "").replace("\n", "")
    assert f"{run} on glyphs:".replace(" ", "") in shown.replace(" ", "").replace("\n", "")


def test_no_data_set_is_measured_if_the_model_was_trained_on_classes_of_one(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from fedmetric.data.sources import digits

    monkeypatch.setattr(digits, "HELD_OUT", (0, 2, 4))
    monkeypatch.setenv("FEDMETRIC_CACHE", str(tmp_path / "cache"))
    answer = command("eval", str(run), "--on", "glyphs", "--on", "digits")
    assert answer.code == 4
    assert answer.out == ""
    assert "the model was trained on 3 of the evaluated classes" in answer.err


def test_groups_are_all_in_the_json_and_in_a_table(command: Command, run: Path) -> None:
    found = json.loads(command("eval", str(run), "--by", "class", "--json").out)
    for row in ("trained", "pixels", "random"):
        groups = found["groups"][row]
        assert [group["name"] for group in groups] == sorted(group["name"] for group in groups)
        assert len(groups) == 4
        assert all(set(group) == {"name", "images", "recall@1", "map@r"} for group in groups)
    shown = command("eval", str(run), "--by", "class").out
    assert "by class, worst first" in shown
    assert all(group["name"] in shown for group in found["groups"]["trained"])


def test_a_grouping_of_the_data_set_is_a_way_to_break_down(command: Command, run: Path) -> None:
    words = ("eval", str(run), "--on", "glyphs", "--set", 'evaluation.tasks=["retrieval"]', "--json", "--by")
    families = json.loads(command(*words, "family").out)["groups"]["trained"]
    assert len(families) > 1
    answer = command(*words, "famly")
    assert answer.code == 4
    assert "glyphs has no groups by 'famly'; did you mean 'family'" in answer.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--on", "digits", "--on", "digits"), "--on names an experiment twice"),
        (("--on", "digits", "--on", "glyphs", "--picture", "p.png"), "--picture draws one data set"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(
    command: Command, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    answer = command("eval", str(tmp_path), *words)
    assert answer.code == 2
    assert message in answer.err
