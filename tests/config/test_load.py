"""Reading experiments, and errors that name the line, the key and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmetric.config import Experiment, load_experiment, parse_experiment, preset_names, preset_path
from fedmetric.config.load import line_of
from fedmetric.errors import ConfigError


def problems(text: str, *overrides: str) -> list[str]:
    """Return the lines of the error that a text causes."""
    with pytest.raises(ConfigError) as caught:
        parse_experiment(text, "run.toml", overrides)
    return str(caught.value).splitlines()


def test_an_empty_file_is_the_default_experiment_named_after_the_file() -> None:
    assert parse_experiment("", "some/run.toml") == Experiment(name="run")


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('seed = 7\nviews = "none"\n')
    experiment = load_experiment(tmp_path / "mine.toml", ["image_size=20"])
    assert (experiment.name, experiment.seed, experiment.views.name, experiment.image_size) == ("mine", 7, "none", 20)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_survives_the_way_through_toml(name: str) -> None:
    experiment = load_experiment(name)
    again = parse_experiment(experiment.to_toml(), "other.toml")
    assert experiment.name == name
    assert again == experiment
    assert again.fingerprint() == experiment.fingerprint()


def test_presets_are_different_experiments() -> None:
    assert len({load_experiment(name).fingerprint() for name in preset_names()}) == len(preset_names()) >= 8


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no file and no preset 'glyph'; did you mean 'glyphs'\?; presets: cifar10"):
        load_experiment("glyph")
    assert preset_path("glyphs").is_file()


def test_a_file_that_is_missing_or_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.toml", "bytes.toml"):
        with pytest.raises(ConfigError, match=f"{name}: cannot be read as a TOML file"):
            load_experiment(tmp_path / name)


def test_bad_toml_is_refused_with_its_line() -> None:
    (problem,) = problems("seed = 1\nimage_size =\n")
    assert problem.startswith("run.toml: not valid TOML: ")
    assert "line 2" in problem


def test_an_unknown_key_names_line_neighbour_and_all_keys() -> None:
    (problem,) = problems("[local]\nlr = 0.1\nbach_size = 3\n")
    assert problem.startswith(
        "run.toml:3: local.bach_size: unknown key; did you mean 'batch_size'?; allowed here: epochs"
    )


def test_a_key_far_from_all_others_gets_no_hint() -> None:
    (problem,) = problems("zzz = 1")
    assert problem.startswith("run.toml:1: zzz: unknown key; allowed here: name, seed,")


def test_several_errors_are_reported_at_once() -> None:
    found = problems("image_size = 2\n[local]\nlr = -1\nbatch_size = 1\n[objective]\ntemprature = 1\n")
    assert [problem.split(": ")[:2] for problem in sorted(found)] == [
        ["run.toml:1", "image_size"],
        ["run.toml:3", "local.lr"],
        ["run.toml:4", "local.batch_size"],
        ["run.toml:6", "objective.temprature"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_size = 7", "run.toml:1: image_size: Input should be greater than or equal to 8, not 7"),
        ("seed = -1", "run.toml:1: seed: Input should be greater than or equal to 0, not -1"),
        (
            "[federation]\nmax_lost = 1.5",
            "run.toml:2: federation.max_lost: Input should be less than or equal to 1, not",
        ),
        (
            "[federation]\nclients_per_round = -1",
            "clients_per_round: Input should be greater than or equal to 0, not -1",
        ),
        ('[local]\noptimiser = "sdg"', "local.optimiser: Input should be 'adam', 'adamw' or 'sgd', not 'sdg'"),
        ("[objective]\ntemperature = 0", "run.toml:2: objective.temperature: Input should be greater than 0, not 0"),
        ('name = "a b"', "run.toml:1: name: String should match pattern"),
        ('[evaluation]\nfew_shot = ["1w1s"]', "few_shot '1w1s' is not of the form 5w1s (at least 2 ways, at least"),
        ('[evaluation]\non = "validation"', "evaluation.on = 'validation' needs validation_classes above 0"),
        ("views = 3", "run.toml:1: views: views is missing its name"),
    ],
)
def test_values_out_of_range_are_refused_with_the_range(text: str, message: str) -> None:
    (problem,) = problems(text)
    assert message in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'objective = "simclrr"',
            "run.toml:1: objective: unknown objective 'simclrr'; did you mean 'simclr'?; known: ",
        ),
        ('[data]\nname = "glyps"', "unknown data set 'glyps'; did you mean 'glyphs'?; known: cifar10, "),
        (
            '[federation]\nrule = "fedpro"',
            "run.toml:2: federation.rule: unknown federation rule 'fedpro'; did you mean",
        ),
        ('model = "conv5"', "unknown backbone 'conv5'; did you mean 'conv4'?"),
        ('partition = "idd"', "unknown partitioner 'idd'; did you mean 'iid'?"),
        ('views = "glyph"', "unknown views 'glyph'; did you mean 'glyphs'?"),
    ],
)
def test_an_unknown_method_is_refused_with_the_nearest(text: str, message: str) -> None:
    (problem,) = problems(text)
    assert message in problem


def test_an_option_of_another_method_is_refused() -> None:
    (problem,) = problems('[federation.rule]\nname = "fedavg"\nmu = 0.1\n')
    assert problem == "run.toml:3: federation.rule.mu: unknown key; allowed here: name"
    (problem,) = problems('views = { name = "glyphs", flip = 0.5 }')
    assert problem.startswith("run.toml:1: views.flip: unknown key; allowed here: name, rotation,")


def test_a_method_from_outside_may_have_any_option() -> None:
    experiment = parse_experiment('[model]\nname = "my.package:network"\ndepth = 3')
    assert experiment.model.options() == {"depth": 3}


# overrides


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=5", "seed", 5),
        ("local.lr=1e-4", "local.lr", 1e-4),
        ("local.optimiser=sgd", "local.optimiser", "sgd"),
        ('local.optimiser="sgd"', "local.optimiser", "sgd"),
        ('evaluation.few_shot=["5w1s", "2w3s"]', "evaluation.few_shot", ("5w1s", "2w3s")),
        ("federation.rule=fedprox", "federation.rule.name", "fedprox"),
        ("federation.rule.name=fedprox", "federation.rule.name", "fedprox"),
        ("views={name='natural', flip=0.25}", "views.flip", 0.25),
        (" image_size =40", "image_size", 40),
        ("name=mine", "name", "mine"),
    ],
)
def test_overrides_take_toml_values_and_bare_words(override: str, path: str, value: object) -> None:
    found: object = parse_experiment("", overrides=[override])
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


def test_an_option_alone_keeps_the_method_of_the_default_and_of_the_file() -> None:
    default = parse_experiment("", overrides=["objective.temperature=0.2"])
    assert (default.objective.name, default.objective.options()["temperature"]) == ("simclr", 0.2)
    chosen = parse_experiment('views = "natural"', overrides=["views.flip=0.1"])
    assert (chosen.views.name, chosen.views.options()["flip"]) == ("natural", 0.1)


def test_choosing_another_method_drops_the_options_of_the_old_one() -> None:
    text = '[views]\nname = "natural"\nflip = 0.1\nrotation = 3.0\n'
    switched = parse_experiment(text, overrides=["views.name=glyphs"])
    assert switched.views == parse_experiment('views = "glyphs"').views
    same = parse_experiment(text, overrides=["views.name=natural"])
    assert same.views.options()["flip"] == 0.1


def test_later_overrides_win() -> None:
    assert parse_experiment("seed = 1", overrides=["seed=2", "seed=3"]).seed == 3


@pytest.mark.parametrize("override", ["seed", "=3", "local.=3", ".lr=3", "a..b=1", ""])
def test_an_override_of_another_form_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=r"--set '.*' is not of the form a\.b=value"):
        parse_experiment("", overrides=[override])


def test_an_override_below_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set 'seed\.x=1': 'seed' is a value, not a table"):
        parse_experiment("seed = 1", overrides=["seed.x=1"])


def test_a_wrong_override_is_named_instead_of_a_line() -> None:
    assert problems("[local]\nlr = 1.0\n", "local.lr=-2") == [
        "--set local.lr=-2: local.lr: Input should be greater than 0, not -2"
    ]
    (problem,) = problems("", "objective.temprature=1")
    assert problem.startswith(
        "--set objective.temprature=1: objective.temprature: unknown key; did you mean 'temperature'"
    )


# lines


TEXT = """# a comment with seed = 1
name = "x"   # the name

[local]
lr = 0.1

[federation.rule]
name = "fedprox"
[ "objective" ]
"temperature" = 1.0
views.name = 3
"""


@pytest.mark.parametrize(
    ("location", "line"),
    [
        (("name",), 2),
        (("local",), 4),
        (("local", "lr"), 5),
        (("local", "epochs"), 4),
        (("federation", "rule", "name"), 8),
        (("federation", "rule", "mu"), 7),
        (("objective", "temperature"), 10),
        (("seed",), None),
        ((), None),
    ],
)
def test_the_line_of_a_key_or_of_the_nearest_table_around_it(location: tuple[str, ...], line: int | None) -> None:
    assert line_of(TEXT, location) == line
