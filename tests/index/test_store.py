from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedmetric.errors import DataError, FedmetricError, UsageError
from fedmetric.index.rows import Rows, Stamp
from fedmetric.index.store import Settings, Store

SETTINGS = Settings(root="/pictures", weights_sha256="0" * 64, experiment_sha256="1" * 64, invert=False)
OTHER = SETTINGS.model_copy(update={"invert": True})


def rows(*names: str) -> Rows:
    return Rows(tuple(Stamp(name, 1, 2) for name in names), np.ones((len(names), 2), np.float32))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "index")


def put(store: Store, settings: Settings, found: Rows, model: Path) -> None:
    store.take_model(model)
    store.replace(settings, found)


def stamps(store: Store) -> tuple[Stamp, ...]:
    about = store.about()
    assert about is not None
    return store.rows(about).stamps


def test_the_folder_is_its_owners_alone_even_if_it_was_there(store: Store, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    Store.create(tmp_path / "open")
    for path in (store.path, tmp_path / "open"):
        assert path.stat().st_mode & 0o777 == 0o700


def test_rows_and_model_are_there_again(store: Store, model: Path) -> None:
    (model / "notes.txt").write_text("not of the model")
    put(store, SETTINGS, rows("a", "b"), model)
    about = store.about()
    assert about is not None
    assert about.settings == SETTINGS
    assert stamps(store) == rows("a", "b").stamps
    assert {path.name for path in (store.path / about.model).iterdir()} == {"model.json", "model.safetensors"}
    assert (store.path / about.model / "model.json").read_text() == "{}"


def test_a_new_index_takes_the_place_of_the_old_one_and_leaves_nothing_of_it(store: Store, model: Path) -> None:
    put(store, SETTINGS, rows("a"), model)
    store.put_aside(OTHER, rows("c"))
    store.put_aside(SETTINGS, rows("b"))
    put(store, OTHER, rows("c"), model)
    about = store.about()
    assert about is not None
    assert {path.name for path in store.path.iterdir()} == {".fedmetric-index", "index.json", about.rows, about.model}


def test_what_an_index_did_not_write_is_never_removed(store: Store, model: Path) -> None:
    put(store, SETTINGS, rows("a"), model)
    mine = {"rows-of-seats", "model-final", "unfinished-symphony", ".model-kit"}
    for name in mine:
        (store.path / name).mkdir()
    (store.path / "rows-2024.csv").write_text("")
    put(store, OTHER, rows("b"), model)
    assert mine | {"rows-2024.csv"} <= {path.name for path in store.path.iterdir()}


@pytest.mark.parametrize("step", range(4))
def test_an_index_stands_until_the_next_one_is_whole(
    store: Store, model: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """A build that dies at any write before index.json is replaced leaves an index that reads as before."""
    put(store, SETTINGS, rows("a"), model)
    before = store.about()
    left = step

    def die(path: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fedmetric.index.store.flush", die)
        patch.setattr("fedmetric.index.rows.flush", die)
        with pytest.raises(KeyboardInterrupt):
            put(store, OTHER, rows("b"), model)
    assert store.about() == before
    assert stamps(store) == rows("a").stamps
    put(store, OTHER, rows("b"), model)
    assert stamps(store) == rows("b").stamps
    after = store.about()
    assert after is not None
    assert {path.name for path in store.path.iterdir()} == {".fedmetric-index", "index.json", after.rows, after.model}


def test_an_index_that_dies_while_it_removes_the_old_one_is_the_new_one(
    store: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, SETTINGS, rows("a"), model)

    def die(path: Path) -> None:
        raise KeyboardInterrupt

    store.take_model(model)
    with monkeypatch.context() as patch:
        patch.setattr("fedmetric.index.store._remove", die)
        patch.setattr(Store, "_place_model", lambda self, place: (store.path / ".model").replace(place))
        with pytest.raises(KeyboardInterrupt):
            store.replace(OTHER, rows("b"))
    assert stamps(store) == rows("b").stamps


def test_a_damaged_copy_of_the_model_is_mended_by_the_next_build(store: Store, model: Path) -> None:
    put(store, SETTINGS, rows("a"), model)
    about = store.about()
    assert about is not None
    (store.path / about.model / "model.safetensors").write_bytes(b"damaged")
    put(store, SETTINGS, rows("a"), model)
    assert (store.path / about.model / "model.safetensors").read_bytes() == b"weights"


def test_what_is_no_model_is_not_taken(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FedmetricError, match="not a model folder: it has no model.safetensors"):
        store.take_model(tmp_path)


def test_a_full_disk_is_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fedmetric.index.rows.save_arrays", full)
    with pytest.raises(FedmetricError, match=r"part-\w{64}.safetensors cannot be written: .*No space left"):
        store.put_aside(SETTINGS, rows("a"))
    told = r"index cannot be built: .*No space left .*; what was finished is kept"
    with pytest.raises(FedmetricError, match=told), store.alone():
        full()


def test_parts_belong_to_their_settings(store: Store) -> None:
    assert store.about() is None
    store.put_aside(SETTINGS, rows("a"))
    store.put_aside(SETTINGS, rows("b"))
    assert {part.stamps for part in store.parts(SETTINGS)} == {rows("a").stamps, rows("b").stamps}
    assert store.parts(OTHER) == []


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1] + bytes([data[-1] ^ 64])])
def test_a_damaged_part_is_left_out_and_the_others_serve(store: Store, damage: Callable[[bytes], bytes]) -> None:
    store.put_aside(SETTINGS, rows("a"))
    (hurt,) = (store.path / f"unfinished-{SETTINGS.short()}").iterdir()
    hurt.write_bytes(damage(hurt.read_bytes()))
    store.put_aside(SETTINGS, rows("b"))
    assert [part.stamps for part in store.parts(SETTINGS)] == [rows("b").stamps]


def test_a_mark_that_is_a_link_empties_no_file_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years")
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / ".fedmetric-index").symlink_to(tmp_path / "thesis.tex")
    with Store.create(tmp_path / "index").alone():
        pass
    assert (tmp_path / "thesis.tex").read_text() == "ten years"


@pytest.mark.parametrize("kind", ["file", "link"])
def test_whatever_stands_where_the_model_is_copied_to_makes_room(
    store: Store, model: Path, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "a.txt").write_text("")
    if kind == "file":
        (store.path / ".model").write_text("")
    else:
        (store.path / ".model").symlink_to(tmp_path / "precious")
    put(store, SETTINGS, rows("a"), model)
    assert stamps(store) == rows("a").stamps
    assert (tmp_path / "precious" / "a.txt").exists()


def test_two_builds_at_a_time_are_refused(store: Store) -> None:
    second = Store.create(store.path)
    with store.alone(), pytest.raises(UsageError, match="another process is building"), second.alone():
        pass
    with second.alone():
        pass


@pytest.mark.parametrize("name", [".lock", "model-final", "rows.txt"])
def test_a_folder_with_a_familiar_name_in_it_is_still_no_index(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match="exists and is no index"):
        Store.create(tmp_path)


def test_an_index_is_one_without_its_mark_too(store: Store, model: Path) -> None:
    put(store, SETTINGS, rows("a"), model)
    (store.path / ".fedmetric-index").unlink()
    assert stamps(Store.create(store.path)) == rows("a").stamps


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
        lambda about: json.dumps({**about, "model": "."}),
        lambda about: "{",
        lambda about: json.dumps({**about, "schema": 2}),
        lambda about: json.dumps({**about, "rows": "../../secret"}),
        lambda about: json.dumps({key: about[key] for key in about if key != "model"}),
    ],
)
def test_a_damaged_description_is_refused(store: Store, model: Path, damage: object) -> None:
    put(store, SETTINGS, rows("a"), model)
    place = store.path / "index.json"
    place.write_text(damage(json.loads(place.read_text())))  # type: ignore[operator]
    with pytest.raises(DataError, match="does not describe an index that this version reads; if it is one, remove"):
        store.about()


def test_rows_of_another_index_are_refused(store: Store, model: Path) -> None:
    put(store, SETTINGS, rows("a"), model)
    about = store.about()
    assert about is not None
    Rows(rows("a").stamps, np.zeros((1, 2), np.float32)).save(store.path / about.rows)
    with pytest.raises(DataError, match="does not match the sha256 in index.json"):
        store.rows(about)
