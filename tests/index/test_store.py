from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedmetric.errors import DataError, UsageError
from fedmetric.index.rows import Rows, Stamp
from fedmetric.index.store import Settings, Store

SETTINGS = Settings(weights_sha256="0" * 64, experiment_sha256="1" * 64, invert=False)
OTHER = SETTINGS.model_copy(update={"invert": True})


def rows(*names: str) -> Rows:
    return Rows(tuple(Stamp(name, 1, 2) for name in names), np.ones((len(names), 2), np.float32))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "index")


def test_the_folder_is_its_owners_alone(store: Store) -> None:
    assert store.path.stat().st_mode & 0o777 == 0o700


def test_rows_and_model_are_there_again(store: Store, model: Path, tmp_path: Path) -> None:
    store.replace(SETTINGS, tmp_path / "pictures", rows("a", "b"), model)
    about = store.about()
    assert about is not None
    assert (about.settings, about.root) == (SETTINGS, str(tmp_path / "pictures"))
    assert store.rows(about).stamps == rows("a", "b").stamps
    assert (store.path / about.model / "model.json").read_text() == "{}"


def test_a_new_index_takes_the_place_of_the_old_one_and_leaves_nothing_of_it(store: Store, model: Path) -> None:
    store.replace(SETTINGS, Path("p"), rows("a"), model)
    store.put_aside(OTHER, rows("c"))
    store.put_aside(SETTINGS, rows("b"))
    store.replace(OTHER, Path("p"), rows("c"), model)
    about = store.about()
    assert about is not None
    assert {path.name for path in store.path.iterdir()} == {".lock", "index.json", about.rows, about.model}


def test_an_index_stands_until_the_next_one_is_whole(
    store: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that dies before index.json is replaced leaves a folder that reads as before, and can be built again."""
    store.replace(SETTINGS, Path("p"), rows("a"), model)
    before = store.about()

    def die(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fedmetric.index.store.flush", die)
        with pytest.raises(KeyboardInterrupt):
            store.replace(OTHER, Path("p"), rows("b"), model)
    assert store.about() == before
    assert before is not None
    assert store.rows(before).stamps == rows("a").stamps
    store.replace(OTHER, Path("p"), rows("b"), model)
    after = store.about()
    assert after is not None
    assert store.rows(after).stamps == rows("b").stamps
    assert (store.path / after.model / "model.json").is_file()


def test_parts_belong_to_their_settings(store: Store) -> None:
    assert store.about() is None
    store.put_aside(SETTINGS, rows("a"))
    store.put_aside(SETTINGS, rows("b"))
    assert [part.stamps for part in store.parts(SETTINGS)] == [rows("a").stamps, rows("b").stamps]
    assert store.parts(OTHER) == []


def test_two_builds_at_a_time_are_refused(store: Store) -> None:
    second = Store.create(store.path)
    with store.alone(), pytest.raises(UsageError, match="another process is building"), second.alone():
        pass
    with second.alone():
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="exists and is no index; choose another --out"):
        Store.create(tmp_path)
    with pytest.raises(UsageError, match="exists and is no index"):
        Store.create(tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="cannot be made an index"):
        Store.create(tmp_path / "thesis.tex" / "below")


@pytest.mark.parametrize(
    "damage",
    [
        lambda about: "{",
        lambda about: json.dumps({**about, "schema": 2}),
        lambda about: json.dumps({**about, "rows": "../../secret"}),
        lambda about: json.dumps({key: about[key] for key in about if key != "model"}),
    ],
)
def test_a_damaged_description_is_refused(store: Store, model: Path, damage: object) -> None:
    store.replace(SETTINGS, Path("p"), rows("a"), model)
    place = store.path / "index.json"
    place.write_text(damage(json.loads(place.read_text())))  # type: ignore[operator]
    with pytest.raises(DataError, match="does not describe an index that this version reads; remove .* and build"):
        store.about()


def test_rows_of_another_index_are_refused(store: Store, model: Path) -> None:
    store.replace(SETTINGS, Path("p"), rows("a"), model)
    about = store.about()
    assert about is not None
    Rows(rows("a").stamps, np.zeros((1, 2), np.float32)).save(store.path / about.rows)
    with pytest.raises(DataError, match="does not match the sha256 in index.json"):
        store.rows(about)
