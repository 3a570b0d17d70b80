"""Pages of the API reference, one a folder of code; a hook of MkDocs (see ``mkdocs.yml``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOMS = ("flows", "tasks", "hw", "spaces")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages; nothing is imported, for docstrings are read from the sources."""
    root = Path(config.config_file_path).parent
    for name, text in pages(root):
        files.append(File.generated(config, f"api/{name}.md", content=text))
    return files


def pages(root: Path) -> Iterator[tuple[str, str]]:
    """Name and Markdown of each page."""
    for room in ROOMS:
        folders: dict[Path, list[str]] = {}
        for path in sorted((root / room).rglob("*.py")):
            if not path.name.startswith("_"):
                module = path.relative_to(root).with_suffix("")
                folders.setdefault(module.parent, []).append(".".join(module.parts))
        for folder, modules in folders.items():
            listed = "\n".join(f"::: {module}\n" for module in modules)
            yield ".".join(folder.parts), f"# {folder}/\n\n{listed}"
