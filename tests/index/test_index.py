from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from fedmetric.cli.compare import distances_of
from fedmetric.errors import DataError, FedmetricError
from fedmetric.index import Hit, Index, build_index
from fedmetric.index.rows import Rows
from fedmetric.index.store import About, Store
from gallery import draw, draw_folder, write_model


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return draw_folder(tmp_path / "pictures")


def built(tmp_path: Path, text: str = "") -> Index:
    build_index(write_model(tmp_path / "model", text), tmp_path / "pictures", tmp_path / "index")
    return Index.open(tmp_path / "index")


@pytest.mark.parametrize(
    ("objective", "name"),
    [
        ('"simclr"', "cosine"),
        ('{name = "triplet", distance = {name = "mahalanobis", rank = 3}}', "mahalanobis"),
        ('{name = "triplet", distance = "pair-mlp"}', "pair-mlp"),
    ],
)
def test_hits_come_by_the_distance_that_the_model_was_trained_for(
    pictures: Path, tmp_path: Path, objective: str, name: str
) -> None:
    index = built(tmp_path, f"objective = {objective}")
    assert index.model.distance_name == name
    query = index.embed([draw(tmp_path / "query.png", 99)])
    hits = index.search(query, 7)[0]
    with torch.no_grad():
        far = index.model.distance(query.double(), torch.from_numpy(index.rows.vectors).double())[0].tolist()
    expected = dict(zip((stamp.path for stamp in index.rows.stamps), far, strict=True))
    assert [hit.path for hit in hits] == sorted(expected, key=lambda path: expected[path])
    assert all(hit.distance == pytest.approx(expected[hit.path], abs=1e-9) for hit in hits)


def test_an_image_of_the_folder_finds_itself(pictures: Path, tmp_path: Path) -> None:
    index = built(tmp_path)
    found = index.search(index.embed([pictures / "one" / "c.pgm", pictures / "z.png"]), 1)
    assert [line[0].path for line in found] == ["one/c.pgm", "z.png"]
    assert all(line[0].distance < 1e-6 for line in found)


def test_the_index_outlives_the_images_and_the_run(pictures: Path, tmp_path: Path) -> None:
    query = draw(tmp_path / "query.png", 5)
    before = built(tmp_path)
    hits = before.search(before.embed([query]))
    for folder in ("pictures", "model"):
        (tmp_path / folder).rename(tmp_path / f"{folder} elsewhere")
    (tmp_path / "index").rename(tmp_path / "moved")
    after = Index.open(tmp_path / "moved")
    assert after.search(after.embed([query])) == hits
    assert isinstance(hits[0][0], Hit)
    assert len(hits[0]) == 5


def test_an_index_that_is_replaced_while_it_is_opened_is_read_again(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(tmp_path)
    real = Store.rows

    def rows(self: Store, about: About) -> Rows:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "rows", real)
            draw(pictures / "new.png", 50)
            build_index(tmp_path / "model", pictures, tmp_path / "index")
        monkeypatch.setattr(Store, "rows", real)
        return real(self, about)

    monkeypatch.setattr(Store, "rows", rows)
    assert len(Index.open(tmp_path / "index")) == 8


def test_a_model_of_other_embeddings_is_refused(pictures: Path, tmp_path: Path) -> None:
    built(tmp_path)
    place = next((tmp_path / "index").glob("model-*"))
    write_model(place, seed=8)
    with pytest.raises(DataError, match="is not the model of the embeddings; build the index again"):
        Index.open(tmp_path / "index")


def test_compare_and_search_agree_on_a_model_that_averages_mirror_images(pictures: Path, tmp_path: Path) -> None:
    index = built(tmp_path, "evaluation = {mirror = true}")
    paths = [pictures / "a.png", pictures / "z.png"]
    _, matrix = distances_of(tmp_path / "model", paths, None)
    hits = {hit.path: hit.distance for hit in index.search(index.embed(paths[:1]), 7)[0]}
    assert hits["z.png"] == pytest.approx(matrix[0][1], abs=1e-6)


def test_queries_without_a_direction_are_refused(pictures: Path, tmp_path: Path) -> None:
    index = built(tmp_path)
    with pytest.raises(DataError, match="queries: of 2 rows, 2 with only zeros"):
        index.search(torch.zeros(2, 4))


def test_queries_of_another_shape_are_refused(pictures: Path, tmp_path: Path) -> None:
    index = built(tmp_path)
    for wrong in (torch.ones(2, 3), torch.ones(5)):
        with pytest.raises(DataError, match=r"do not fit embeddings of \d+ dimensions; embed them with Index.embed"):
            index.search(wrong)


def test_a_query_without_a_direction_is_named(pictures: Path, tmp_path: Path) -> None:
    index = built(tmp_path)
    black = tmp_path / "black.png"
    Image.new("L", (16, 16), 0).save(black)
    with pytest.raises(DataError, match="black.png: the model gives it no direction"):
        index.embed([pictures / "a.png", black])


def test_nothing_is_no_number_of_images_to_find(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 images cannot be found; count is at least 1"):
        built(tmp_path).search(torch.ones(1, 4), 0)


def test_queries_that_cannot_be_read_are_named(pictures: Path, tmp_path: Path) -> None:
    index = built(tmp_path)
    with pytest.raises(DataError, match="read me.txt: cannot be decoded"):
        index.embed([pictures / "read me.txt"])


def test_a_model_that_was_changed_in_the_index_is_refused(pictures: Path, tmp_path: Path) -> None:
    index = built(tmp_path)
    weights = next((tmp_path / "index").glob("model-*/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(FedmetricError, match="does not match the sha256"):
        Index.open(tmp_path / "index")
    assert len(index) == 7
