"""The folder of an index on disk.

    index.json               what it was made of, and which of the files below belong to it
    rows-<hash>.safetensors  paths and embeddings (`rows`)
    model-<hash>/            the model (`export`)
    unfinished-<hash>/       parts that an interrupted build had finished

index.json is replaced in one step, after what it names is on the disk: a reader sees the old index or the new one.
No file holds an image, but embeddings tell of images, and names of files may: the folder is its owner's alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedmetric.arrays import sha256_of
from fedmetric.durable import flush
from fedmetric.errors import DataError, UsageError
from fedmetric.index.rows import Rows

SCHEMA = 1
ABOUT, LOCK = "index.json", ".lock"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Settings(BaseModel):
    """All that decides an embedding beside the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    root: str = Field(description="folder that was indexed")
    rows: str = Field(pattern=r"^rows-[0-9a-f]{12}\.safetensors$", description="file with paths and embeddings")
    vectors_sha256: Sha256 = Field(description="of the embeddings")
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
        """
        if path.exists() and not (path / LOCK).is_file() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} exists and is no index; choose another --out")
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            (path / LOCK).touch()
        except OSError as error:
            raise UsageError(f"{path} cannot be made an index: {error}; choose another --out") from error
        return cls(path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other builds out.

        Raises:
            UsageError: another process is building this index.
        """
        with (self.path / LOCK).open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go when the file is closed
            except BlockingIOError as error:
                raise UsageError(f"another process is building {self.path}; wait for it") from error
            yield

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
                f"{place} does not describe an index that this version reads; remove {self.path} and build it again"
            ) from error

    def rows(self, about: About) -> Rows:
        """Read paths and embeddings.

        Raises:
            FedmetricError: the file is missing or damaged.
        """
        rows = Rows.load(self.path / about.rows)
        if sha256_of({"vectors": rows.vectors}) != about.vectors_sha256:
            raise DataError(
                f"{self.path / about.rows} does not match the sha256 in {ABOUT}; remove {self.path} and build it again"
            )
        return rows

    def parts(self, settings: Settings) -> list[Rows]:
        """Read what an interrupted build with the same settings had finished."""
        return [Rows.load(path) for path in sorted(self._unfinished(settings).glob("part-*"))]

    def put_aside(self, settings: Settings, part: Rows) -> None:
        """Keep finished rows, in case the build is interrupted."""
        folder = self._unfinished(settings)
        folder.mkdir(exist_ok=True)
        part.save(folder / f"part-{len(list(folder.glob('part-*'))):06d}.safetensors")

    def _unfinished(self, settings: Settings) -> Path:
        return self.path / f"unfinished-{settings.short()}"

    def replace(self, settings: Settings, root: Path, rows: Rows, model: Path) -> None:
        """Make these rows and this model the index, and remove what belongs to an earlier one."""
        about = About(
            settings=settings,
            root=str(root.resolve()),
            rows=f"rows-{rows.sha256()[:12]}.safetensors",
            vectors_sha256=sha256_of({"vectors": rows.vectors}),
            model=f"model-{settings.short()}",
        )
        rows.save(self.path / about.rows)
        self._copy(model, self.path / about.model)
        temporary = self.path / f".{ABOUT}"
        temporary.write_text(about.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
        flush(temporary)
        temporary.replace(self.path / ABOUT)
        flush(self.path)
        self._clear({ABOUT, LOCK, about.rows, about.model})

    def _copy(self, model: Path, to: Path) -> None:
        if to.is_dir():
            return
        temporary = to.with_name(f".{to.name}")
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(model, temporary)
        for path in temporary.iterdir():
            flush(path)
        temporary.replace(to)

    def _clear(self, kept: set[str]) -> None:
        for path in self.path.iterdir():
            if path.name.lstrip(".").startswith(("rows-", "model-", "unfinished-")) and path.name not in kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
