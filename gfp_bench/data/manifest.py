"""Dataset manifests: `<name>.toml` says what a dataset is, `<name>.parquet` lists its images by content.

Torch-free: the command line describes and checks data without loading it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import pandas as pd
from pydantic import Field, FiniteFloat, PositiveInt, PrivateAttr, StringConstraints

from gfp_bench.data.decoding import View
from gfp_bench.data.index import from_parquet, index_digest, index_problems, size_problems, to_parquet
from gfp_bench.documents import Document, checked, read_document
from gfp_bench.errors import DatasetError, unknown
from gfp_bench.files import sha256, write_atomically

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+@-]*$"  # also a file's name
Name: TypeAlias = Annotated[str, StringConstraints(pattern=NAME)]
Metadata: TypeAlias = dict[str, bool | int | FiniteFloat | str]


@dataclass(frozen=True)
class About:
    """What people are told of a dataset; it bears on no result.

    Attributes:
        description: One sentence.
        licence: Under which terms the images may be used.
        citation: What to cite.
    """

    description: str = ""
    licence: str = "unknown"
    citation: str = ""


class Manifest(Document):
    """What a dataset holds.

    Attributes:
        schema_version: The layout of this file and its index.
        name: The dataset's name and that of its files.
        description: One sentence for people.
        licence: Under which terms the images may be used.
        citation: What to cite.
        folder: Where the images lie, from the manifest's own folder.
        image_size: Height and width of every image in pixels, after the view.
        index: sha256 of the index's content, see `index_digest`.
        splits: Number of images in each split.
        shared_groups: Why groups may stand in several splits; empty where they may not.
        view: How files become images.
        sources: Metadata of each source; ``real`` is the one that no model made.
    """

    schema_version: Literal[1]
    name: Name
    description: str
    licence: str
    citation: str = ""
    folder: Path
    image_size: tuple[PositiveInt, PositiveInt]
    index: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    splits: Annotated[dict[Name, PositiveInt], Field(min_length=1)]
    shared_groups: str = ""
    view: View = View()
    sources: Annotated[dict[Name, Metadata], Field(min_length=2)]
    _file: Path = PrivateAttr(default=Path())

    @property
    def file(self) -> Path:
        """The manifest's own path."""
        return self._file

    @property
    def index_file(self) -> Path:
        """The parquet file beside the manifest."""
        return self._file.with_name(f"{self.name}.parquet")

    @property
    def root(self) -> Path:
        """The folder that the index's paths start from."""
        return (self._file.parent / self.folder).resolve()

    @property
    def source_names(self) -> tuple[str, ...]:
        """All sources, sorted: a label is an index into them."""
        return tuple(sorted(self.sources))

    @property
    def probes(self) -> tuple[str, ...]:
        """The sources that are tested and not learnt, sorted: further instances of one that is, or unseen families."""
        return probes_of(self.sources)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(3, h, w)."""
        return (3, *self.image_size)

    @property
    def allowed_leakage(self) -> tuple[str, ...]:
        """What splits share because this file says that they may, a sentence each."""
        return (f"groups stand in several splits ({self.shared_groups})",) if self.shared_groups else ()

    @property
    def digest(self) -> str:
        """sha256 of what bears on results: the texts for people and the place on disk do not."""
        texts = {"description", "licence", "citation", "folder", "shared_groups"}
        content = self.model_dump(mode="json", exclude=texts, exclude_defaults=True)  # a later field changes no digest
        return sha256(json.dumps(content, sort_keys=True).encode())


def built_in_folder() -> Path:
    """Return the folder of built-in datasets, which lies beside the package under a wheel's or a checkout's name.

    It is not looked for on the path, so that a checkout takes its own even where another version is installed.
    """
    home = Path(__file__).parents[2]
    installed = home / "gfp_bench_datasets"
    return installed if installed.is_dir() else home / "datasets"


def list_manifests(folders: Iterable[Path] = ()) -> dict[str, list[Path]]:
    """Return the manifests in the built-in folder and in ``folders``, by name: usually one each.

    Other TOML files are passed over: a manifest has its index beside it, or says ``schema_version``.
    """
    found: dict[str, list[Path]] = {}
    for folder in dict.fromkeys(path.resolve() for path in [built_in_folder(), *folders]):
        for file in sorted(folder.glob("*.toml")):
            if _is_manifest(file):
                found.setdefault(file.stem, []).append(file)
    return found


def _is_manifest(file: Path) -> bool:
    try:
        return file.with_suffix(".parquet").exists() or b"schema_version" in file.read_bytes()
    except OSError:  # a folder, or not ours to read
        return False


def find_manifest(name_or_path: str | Path, folders: Iterable[Path] = (), others: Iterable[str] = ()) -> Path:
    """Return the manifest that a name, or a path ending in ``.toml``, stands for.

    Args:
        name_or_path: Which.
        folders: Where to look besides the built-in folder.
        others: Names of datasets without a manifest, which a message may have to name.

    Raises:
        UsageError: If no dataset has that name; the message has the nearest ones.
        DatasetError: If several folders have a dataset of that name.
    """
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        return Path(name_or_path)
    manifests = list_manifests(folders)
    if name_or_path not in manifests:
        raise unknown("dataset", name_or_path, [*manifests, *others])
    file, *more = manifests[name_or_path]
    if more:
        raise DatasetError(
            f"dataset {name_or_path!r} is both {file} and {more[0]}, expected one; rename either, or give the path of "
            "the one you mean"
        )
    return file


def read_manifest(file: Path) -> Manifest:
    """Return the manifest in a TOML file.

    Raises:
        DatasetError: If the file is missing, is no TOML, or has a key or value that a manifest cannot have.
    """
    manifest = read_document(file, Manifest, kind="manifest", error=DatasetError, otherwise="check the path")
    return _lying(manifest, file)


def _lying(manifest: Manifest, file: Path) -> Manifest:
    """Return the manifest as it lies in a file."""
    manifest._file = file.absolute()
    if manifest.name != file.stem:
        raise DatasetError(
            f"manifest {file} has name = {manifest.name!r}, expected {file.stem!r} as the file; rename either"
        )
    if manifest.view.side is not None and manifest.image_size != (manifest.view.side,) * 2:
        raise DatasetError(
            f"manifest {file} has image_size = {list(manifest.image_size)}, but its view gives squares of "
            f"{manifest.view.side} pixels; change either and index the folder again"
        )
    return manifest


def write_manifest(
    file: Path,
    index: pd.DataFrame,
    *,
    about: About,
    folder: Path,
    image_size: tuple[int, int],
    view: View,
    sources: Mapping[str, Metadata],
    shared_groups: str = "",
) -> Manifest:
    """Write a manifest and, beside it, the index; return it as `read_manifest` does.

    Args:
        file: The manifest's path, `<name>.toml`.
        index: One row per image, with the columns of `gfp_bench.data.index.SCHEMA`, in any order.
        about: What people are told.
        folder: Where the images lie: absolute, or from the manifest's folder.
        image_size: Height and width of every image in pixels, after the view.
        view: How files become images.
        sources: Metadata of each source.
        shared_groups: Why groups may stand in several splits; empty where they may not.

    Raises:
        DatasetError: If the index is one that `read_index` refuses, or the files cannot be written.
    """
    content = {
        "schema_version": 1,
        "name": file.stem,
        **asdict(about),
        "folder": folder.as_posix(),
        "image_size": list(image_size),
        "index": index_digest(index),
        "splits": {str(split): int(count) for split, count in index["split"].value_counts().sort_index().items()},
        **({"shared_groups": shared_groups} if shared_groups else {}),
        "view": view.model_dump(exclude_defaults=True),
        "sources": {name: dict(sources[name]) for name in sorted(sources)},
    }
    manifest = _lying(checked(content, Manifest, subject=f"manifest {file}", error=DatasetError), file)
    _refuse(manifest, index)
    try:
        write_atomically(manifest.index_file, to_parquet(index))
        write_atomically(file, _toml(content).encode())
    except OSError as error:
        raise DatasetError(
            f"manifest {file} cannot be written: {error.strerror}; free space or choose another folder (--out)"
        ) from error
    return manifest


def read_index(manifest: Manifest) -> pd.DataFrame:
    """Return the checked index, ordered by split, sha256 and id: an order that tells nothing of the sources.

    Raises:
        DatasetError: If the index is damaged or another than the manifest names; or has a repeated id, an unknown
            source or split, a path out of the folder, a source with fewer than two images in a split, images of
            other sizes than the manifest says, the same image in two splits or sources, or, unless the manifest allows
        it, a group in two splits.
    """
    index = from_parquet(manifest.index_file)
    digest = index_digest(index)
    if digest != manifest.index:
        raise DatasetError(
            f"index {manifest.index_file} has digest {digest}, expected {manifest.index} as in {manifest.file}; "
            "restore it or index the folder again"
        )
    _refuse(manifest, index)
    return index.sort_values(["split", "sha256", "id"], ignore_index=True)


def probes_of(sources: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the sources, sorted, whose metadata say that they are tested and not learnt."""
    return tuple(name for name in sorted(sources) if {"probe_of", "unseen"} & sources[name].keys())


def _refuse(manifest: Manifest, index: pd.DataFrame) -> None:
    problems = index_problems(
        index, manifest.sources, manifest.splits, manifest.probes, shared_groups=bool(manifest.shared_groups)
    )
    for probe in manifest.probes:
        family = manifest.sources[probe].get("probe_of")
        if family is not None and (family not in manifest.sources or family in manifest.probes):
            problems.append(f"probe {probe!r} is of the family {family!r}, which is no source that is learnt; mend it")
    counts = {str(split): int(count) for split, count in index["split"].value_counts().items()}
    if not problems and counts != manifest.splits:
        problems.append(f"the index has {counts} images, expected {manifest.splits}; index the folder again")
    if manifest.view.side is None:
        problems.extend(size_problems(index, *manifest.image_size))
    if problems:
        raise DatasetError(f"dataset {manifest.name!r} ({manifest.file}): " + "; ".join(problems))


def _toml(table: Mapping[str, Any], name: str = "") -> str:
    """Return a table as TOML, whose basic strings are JSON's; tables in it come last and are called ``name.key``."""
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    lines = [f"{_key(key)} = {_value(value)}\n" for key, value in table.items() if key not in tables]
    head = f"\n[{name}]\n" if name and (lines or not tables) else ""
    prefix = f"{name}." if name else ""
    return head + "".join(lines) + "".join(_toml(value, prefix + _key(key)) for key, value in tables.items())


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML wants it escaped, JSON does not
