"""Pages of the site that no file in docs/ holds: those of the root, and one per folder of the package."""

import pathlib
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPIED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "notebooks/README.md": "notebooks/index.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file in docs/ holds."""
    for source, target in COPIED.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=_from_the_root(text)))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.name}", abs_src_path=str(path)))
    pages = {f"api/{name}.md": text for name, text in api_pages().items()}
    for target, text in pages.items():
        files.append(File.generated(config, target, content=text))
    assert config.nav is not None
    (reference,) = (section["Reference"] for section in config.nav if "Reference" in section)
    reference.append({"Modules": list(pages)})
    return files


def api_pages() -> dict[str, str]:
    """Return a page for each folder of the package, and one for the top-level modules."""
    pages: dict[str, list[str]] = {}
    for path in sorted((ROOT / "anneal_jax").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if path.read_text(encoding="utf-8") and not parts[-1].startswith("_"):
            pages.setdefault(parts[1] if len(parts) > 2 else "modules", []).append(".".join(parts))
    pages = {"modules": pages.pop("modules"), **pages}
    return {
        name: f"# `{'anneal_jax' if name == 'modules' else 'anneal_jax.' + name}`\n\n"
        + "\n\n".join(f"::: {module}" for module in modules)
        for name, modules in pages.items()
    }


def _from_the_root(text: str) -> str:
    """Turn links from the repository's root into links between pages of the site."""
    text = re.sub(r"(?<=\]\()docs/", "", text)
    for source, target in COPIED.items():
        text = text.replace(f"]({source}", f"]({target}")
    return text
