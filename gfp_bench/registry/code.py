"""What code a plugin is: checksums of its module and of the helpers that it imports, none of which is run.

Torch-free.
"""

import ast
import json
import threading
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path

from gfp_bench.files import sha256

_OURS = "gfp_bench"  # of which the version and the revision say what it is


def files_of(module: Path) -> dict[str, str]:
    """Return the sha256 of a module and of all that it imports from its own package or, as a single file, from beside.

    Imports inside functions count, and so do those of helpers; what is imported under a computed name does not.

    Returns:
        Checksums by path, from the folder that imports start in.

    Raises:
        OSError: If the module cannot be read.
    """
    root, package = _root(module)
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        file = waiting.pop()
        name = file.relative_to(root).as_posix()
        if name not in found:
            content = file.read_bytes()
            found[name] = sha256(content)
            waiting += [
                one for dotted in _imported(content, file.relative_to(root)) for one in _files(dotted, root, package)
            ]
    return dict(sorted(found.items()))


def code_digest(files: Mapping[str, str]) -> str:
    """Return one checksum of several files, whatever they are called."""
    return sha256(json.dumps(sorted(files.values())).encode())


def module_file(dotted: str) -> Path | None:
    """Return where a module of an installed package lies, found without importing anything, or None."""
    first, *rest = dotted.split(".")
    spec = PathFinder.find_spec(first)
    if spec is None:
        return None
    if not rest and spec.origin:
        return Path(spec.origin)
    for folder in map(Path, spec.submodule_search_locations or ()):
        for file in (folder.joinpath(*rest).with_suffix(".py"), folder.joinpath(*rest, "__init__.py")):
            if file.is_file():
                return file
    return None


def _root(module: Path) -> tuple[Path, str]:
    """Return the folder that a module's imports start in, and the package that it is of, or none."""
    folder, package = module.parent, ""
    while (folder / "__init__.py").is_file():
        folder, package = folder.parent, folder.name
    return folder, package


_PARSING = threading.Lock()  # CPython 3.11 counts the depth of what all threads parse in one place


def _imported(content: bytes, place: Path) -> Iterator[tuple[str, ...]]:
    """Yield the parts of each dotted name that a file imports; names that are no modules are among them."""
    try:
        with _PARSING:
            tree = ast.parse(content)
    except (SyntaxError, ValueError):  # it will say so itself once it is loaded
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(name.name.split(".")) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = place.parts[: -node.level] if node.level else ()
            module = tuple(node.module.split(".")) if node.module else ()
            yield from ((*start, *module, name.name) for name in node.names)


def _files(dotted: tuple[str, ...], root: Path, package: str) -> Iterator[Path]:
    """Yield the files below a folder that importing a name runs, those of the packages that it is in included."""
    if not dotted or dotted[0] == _OURS or (package and dotted[0] != package):
        return
    for length in range(1, len(dotted) + 1):
        at = root.joinpath(*dotted[:length])
        yield from (file for file in (at / "__init__.py", at.parent / f"{at.name}.py") if file.is_file())
