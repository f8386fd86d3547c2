"""The documentation as a website has every page of the project, and every link of a page leads to something in it."""

import re
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "config/README.md"])
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def entries(nav: Any) -> Iterator[str]:
    """The pages of a menu and of all menus in it."""
    for entry in nav:
        for content in entry.values():
            if isinstance(content, str):
                yield content
            else:
                yield from entries(content)


def slug(heading: str) -> str:
    """The name that Python-Markdown, and so MkDocs, gives to a heading."""
    plain = unicodedata.normalize("NFKD", heading.replace("`", "")).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def links(page: Path) -> list[str]:
    """The relative links of a page, outside of code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make site` gives to MkDocs, made in a folder with the project's files."""
    folder = tmp_path_factory.mktemp("project")
    for entry in ROOT.iterdir():
        if not entry.name.startswith("."):
            (folder / entry.name).symlink_to(entry)
    made = f"{SITE['docs_dir']}/made"
    subprocess.run(["make", made], cwd=folder, check=True, capture_output=True)
    return folder / SITE["docs_dir"]


def test_the_menu_lists_every_page_once(source: Path) -> None:
    """A page that is missing from the menu could be found by its links only, and one too many breaks the site."""
    listed = list(entries(SITE["nav"]))
    assert len(listed) == len(set(listed))
    assert {ROOT / name for name in listed} == set(PAGES)
    assert all((source / name).is_file() for name in listed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_of_the_site(source: Path, page: Path) -> None:
    """What pages link to lies in the site at the same place as in the project, and parts have the same names."""
    here = page.relative_to(ROOT).parent
    for target in links(page):
        name, _, part = target.partition("#")
        file = source / Path(*resolved(here / name)) if name else page
        assert file.exists(), target
        if part:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert [slug(heading) for heading in headings].count(part) == 1, target


def resolved(path: Path) -> list[str]:
    """The parts of a relative path without `..`, whatever links lie on the way."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return parts
