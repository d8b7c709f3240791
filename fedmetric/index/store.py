"""The folder of an index on disk.

    index.json               what it was made of, and which of the files below belong to it
    rows-<hash>.safetensors  paths and embeddings (`rows`)
    model-<hash>/            the model (`export`)
    unfinished-<hash>/       parts that an interrupted build had finished
    .fedmetric-index         says that this is an index; locked while it is built

index.json is replaced in one step, after what it names is on the disk.
No file holds an image, but embeddings tell of images, and names of files may: the folder is its owner's alone.
"""

from __future__ import annotations

import fcntl
import filecmp
import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedmetric.durable import flush
from fedmetric.errors import DataError, FedmetricError, UsageError
from fedmetric.index.rows import Rows
from fedmetric.runs import ABOUT as MODEL_ABOUT
from fedmetric.runs import WEIGHTS

SCHEMA = 1
ABOUT, MARK, NEW_MODEL = "index.json", ".fedmetric-index", ".model"
OWN = re.compile(r"\.?(rows-[0-9a-f]{12}\.safetensors|(model|unfinished)-[0-9a-f]{12})|\.model")
"""What the index may remove of its folder."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Settings(BaseModel):
    """All that decides an embedding beside the file and the machine.

    The whole experiment takes part, not only what is known to matter: an index is rather built anew than wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str = Field(description="folder that is indexed")
    weights_sha256: Sha256 = Field(description="of the model")
    experiment_sha256: Sha256 = Field(description="of the experiment that says what the model is")
    invert: bool = Field(description="whether images are turned from dark ink on white into white ink on black")

    def short(self) -> str:
        """Return twelve hex digits that stand for these settings."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class About(BaseModel):
    """What index.json says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_number: int = Field(SCHEMA, alias="schema", ge=SCHEMA, le=SCHEMA, description="of the folder")
    settings: Settings
    rows: str = Field(pattern=r"^rows-[0-9a-f]{12}\.safetensors$", description="file with paths and embeddings")
    rows_sha256: Sha256 = Field(description="of paths and embeddings")
    model: str = Field(pattern=r"^model-[0-9a-f]{12}$", description="folder of the model")


class Store:
    """Read and write the folder of an index."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> Store:
        """Make the folder, or take an index that is there.

        Raises:
            UsageError: it is something else than an index, or cannot be written.
            DataError: it has an index.json of another kind.
        """
        known = (path / MARK).is_file() or ((path / ABOUT).is_file() and cls(path).about())
        if path.exists() and not known and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} exists and is no index; choose another --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)
            (path / MARK).touch()
        except OSError as error:
            raise UsageError(f"{path} cannot be made an index: {error}; choose another --out") from error
        return cls(path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other builds out, and say in one line what the disk refuses.

        Raises:
            UsageError: another process is building this index.
            FedmetricError: something cannot be written.
        """
        try:
            with (self.path / MARK).open("a") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go when the file is closed
                except BlockingIOError as error:
                    raise UsageError(f"another process is building {self.path}; wait for it") from error
                yield
        except OSError as error:
            raise FedmetricError(f"{self.path} cannot be built: {error}; what was finished is kept") from error

    def about(self) -> About | None:
        """Return the description of the index, or None where there is no finished one.

        Raises:
            DataError: it is damaged, or of another version.
        """
        place = self.path / ABOUT
        if not place.is_file():
            return None
        try:
            return About.model_validate_json(place.read_bytes())
        except (OSError, ValidationError) as error:
            raise DataError(
                f"{place} does not describe an index that this version reads; if it is one, remove {self.path} and "
                "build it again"
            ) from error

    def rows(self, about: About) -> Rows:
        """Read paths and embeddings.

        Raises:
            FedmetricError: the file is missing or damaged.
        """
        rows = Rows.load(self.path / about.rows)
        if rows.sha256() != about.rows_sha256:
            raise DataError(f"{self.path / about.rows} does not match the sha256 in {ABOUT}; build the index again")
        return rows

    def parts(self, settings: Settings) -> list[Rows]:
        """Read what an interrupted build with the same settings had finished; what is damaged is left out."""
        found = []
        for path in sorted(self._unfinished(settings).glob("part-*")):
            try:
                part = Rows.load(path)
            except FedmetricError:
                continue
            if part.sha256() in path.name:
                found.append(part)
        return found

    def put_aside(self, settings: Settings, part: Rows) -> None:
        """Keep finished rows, in case the build is interrupted, under a name that holds their hash."""
        folder = self._unfinished(settings)
        folder.mkdir(exist_ok=True)
        part.save(folder / f"part-{part.sha256()}.safetensors")

    def _unfinished(self, settings: Settings) -> Path:
        return self.path / f"unfinished-{settings.short()}"

    def take_model(self, model: Path) -> Path:
        """Copy a model, so that it is the same from the first embedding to the last: the folder of the copy.

        Raises:
            FedmetricError: there is no model.
        """
        copy = self.path / NEW_MODEL
        _remove(copy)
        copy.mkdir()
        for name in (WEIGHTS, MODEL_ABOUT):
            if not (model / name).is_file():
                raise FedmetricError(f"{model}: not a model folder: it has no {name}")
            shutil.copyfile(model / name, copy / name)
            flush(copy / name)
        return copy

    def replace(self, settings: Settings, rows: Rows) -> None:
        """Make these rows and the model that was taken the index, and remove what belongs to an earlier one."""
        sha256 = rows.sha256()
        about = About(
            settings=settings,
            rows=f"rows-{sha256[:12]}.safetensors",
            rows_sha256=sha256,
            model=f"model-{settings.short()}",
        )
        rows.save(self.path / about.rows)
        self._place_model(self.path / about.model)
        temporary = self.path / f".{ABOUT}"
        temporary.write_text(about.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
        flush(temporary)
        temporary.replace(self.path / ABOUT)
        flush(self.path)
        for path in self.path.iterdir():
            if OWN.fullmatch(path.name) and path.name not in (about.rows, about.model):
                _remove(path)

    def _place_model(self, place: Path) -> None:
        """Give the model that was taken its name, unless it is there already, undamaged."""
        taken, names = self.path / NEW_MODEL, (WEIGHTS, MODEL_ABOUT)
        if place.is_dir() and filecmp.cmpfiles(taken, place, names, shallow=False)[0] == list(names):
            return
        _remove(place)
        taken.replace(place)


def _remove(path: Path) -> None:
    """Remove a folder with what is in it, a file, or a link and not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
