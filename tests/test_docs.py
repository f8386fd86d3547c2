"""What the documentation says is true of the project: links, commands, configurations and messages."""

import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import chdir
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
import tifffile
import yaml

from sparse2dense.stages.command import check_view, command_parser, main
from sparse2dense.stages.configuration import load_schema, problems
from tests.stand_ins import LOCAL, configuration, merged, write_stand_ins

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "config/README.md"])
TROUBLESHOOTING = ROOT / "docs/troubleshooting.md"
SCHEMA = load_schema(ROOT / "workflow/schemas/config.schema.yaml")
SHELLS = ("bash", "console")
# Commands that do something else than run jobs: their options are checked, but there is nothing to plan.
WITHOUT_PLAN = {"--unlock", "--report", "--lint", "--list-target-rules"}


class Fence(NamedTuple):
    """A fenced block of a page."""

    page: Path
    language: str
    text: str


@pytest.fixture(scope="module")
def parser() -> ArgumentParser:
    """What Snakemake reads its command line with."""
    from snakemake.cli import get_argument_parser  # takes two seconds

    made: ArgumentParser = get_argument_parser()
    return made


def fences(*languages: str) -> list[Fence]:
    """The fenced blocks of all pages in some languages."""
    found = []
    for page in PAGES:
        for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            if language in languages:
                found.append(Fence(page, language, text))
    return found


def commands(program: str) -> list[str]:
    """The distinct commands of all pages that start with `program`."""
    found: dict[str, None] = {}
    for fence in fences(*SHELLS):
        for line in fence.text.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and words[0] == program:
                found[shlex.join(words[1:])] = None
    return list(found)


def anchor(heading: str) -> str:
    """The name by which a heading is linked to."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link and picture is a file of the project, and every part of a page that is named exists."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, part = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target}"
        if part:
            headings = [anchor(line.lstrip("# ")) for line in file.read_text().splitlines() if line.startswith("#")]
            assert part in headings, f"{page.name}: {target}"


def test_every_page_is_linked_to() -> None:
    """A reader who starts at README.md can reach every page."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [
                file
                for target in re.findall(r"\]\(([^)\s#]+)", page.read_text())
                if (file := (page.parent / target).resolve()).exists()
            ]
    assert reached >= set(PAGES)


def test_make_targets_exist() -> None:
    """`make` knows every target that the pages name."""
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {word for command in commands("make") for word in shlex.split(command) if "=" not in word}
    asked |= {name for page in PAGES for name in re.findall(r"`make (\S+?)`", page.read_text())}
    assert {"run", "test", "benchmark"} <= asked <= targets


def test_modules_exist() -> None:
    """`python -m` finds every module that the pages name."""
    for command in commands("python"):
        words = shlex.split(command)
        if words[0] == "-m":
            assert importlib.util.find_spec(words[1]), command


def place(fence: Fence) -> str | None:
    """The file that a block of YAML is the content of, if its first line says so."""
    found = re.match(r"# (\S+\.yaml)\n", fence.text)
    return found[1] if found else None


@pytest.mark.parametrize("fence", fences("yaml"), ids=lambda fence: f"{fence.page.stem}: {fence.text.split()[1]}")
def test_configurations_are_accepted(fence: Fence, parser: ArgumentParser) -> None:
    """Every key and value of a configuration in the pages is allowed, beside the demo where it is only a part."""
    content = yaml.safe_load(fence.text)
    if "default-resources" in content:
        known = {option for action in parser._actions for option in action.option_strings}
        assert {f"--{key}" for key in content} <= known
        return
    complete = "run" in content
    demo = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    assert problems(content if complete else merged(demo, content), SCHEMA) == []


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's entry points with the configurations of the pages, and the files that these read."""
    folder = tmp_path_factory.mktemp("checkout")
    for entry in ("Snakefile", "workflow", "profiles", "envs", "src"):
        (folder / entry).symlink_to(ROOT / entry)
    (folder / "slurm").symlink_to("profiles/slurm")
    (folder / "config/presets").mkdir(parents=True)
    for given in (ROOT / "config").rglob("*.yaml"):
        (folder / given.relative_to(ROOT)).write_text(given.read_text())
    for files in LOCAL.values():
        write_stand_ins(configuration(*files), folder)
    for fence in fences("yaml"):
        name = place(fence)
        if name is not None:
            file = folder / name.replace("~/", "home/")
            assert not file.exists(), f"two pages write {name}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(fence.text)
    for given in (folder / "config").glob("*.yaml"):
        for source in re.findall(r"path: ([^\s,}]+\.tif)", given.read_text()):
            write_stack(folder / source)
    for words in map(shlex.split, commands("sparse2dense")):
        if words[0] == "new":
            asked = command_parser().parse_args(words)
            write_stack(folder / asked.raw)
            write_stack(folder / asked.painted)
            with chdir(folder):
                assert main(words) == 0
    return folder


def write_stack(file: Path) -> None:
    """Write an image, or labels of which three sections are painted, unless the file is there."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        image = file.name.endswith(("raw.tif", "crop.tif", "second.tif", "rest.tif"))
        # Sparse files: a run's checks read their headers, not their voxels.
        depth = 250 if file.name.startswith("cube1") else 160
        stack = tifffile.memmap(file, shape=(depth, 250, 250), dtype="uint8" if image else "uint16")
        stack[[30, 80, 130], 20:90, 20:90] = 1


def divided(words: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Targets, which stand first, and options with their values."""
    targets: list[str] = []
    options: dict[str, list[str]] = {}
    values = targets
    for word in words:
        if word.startswith("-"):
            values = options.setdefault(word, [])  # given twice, the values of both
        else:
            values.append(word)
    return targets, options


class Setting(NamedTuple):
    """Under which profiles and configurations a command runs."""

    profiles: tuple[str, ...]
    files: tuple[str, ...]

    def extends(self, other: "Setting") -> bool:
        """Whether this one gives all that the other gives, and more of the same: a plan for it serves both."""
        pairs = list(zip(self, other, strict=True))
        return self != other and all(mine[: len(his)] == his and bool(mine) == bool(his) for mine, his in pairs)


def plans() -> list[list[str]]:
    """The dry-runs that cover all commands: a dry-run takes seconds, so commands of one setting share one."""
    asked: dict[Setting, tuple[list[str], list[str]]] = {}
    for command in commands("snakemake"):
        targets, options = divided(shlex.split(command))
        if not WITHOUT_PLAN & set(options):
            setting = Setting(tuple(options.get("--profile", ())), tuple(options.get("--configfile", ())))
            wanted, resources = asked.setdefault(setting, ([], []))
            wanted += targets or ["all"]
            resources += options.get("--set-resources", [])
    found = []
    for setting, (targets, resources) in asked.items():
        if any(other.extends(setting) for other in asked):
            continue
        for smaller in (other for other in asked if setting.extends(other)):
            targets, resources = targets + asked[smaller][0], resources + asked[smaller][1]
        line = list(dict.fromkeys(targets))
        line += ["--set-resources", *dict.fromkeys(resources)] if resources else []
        line += [word for profile in setting.profiles for word in ("--profile", profile)]
        found.append([*line, *(["--configfile", *setting.files] if setting.files else [])])
    return found


def test_options_of_commands_exist(parser: ArgumentParser) -> None:
    """Snakemake understands every command of the pages."""
    for command in commands("snakemake"):
        try:
            understood = parser.parse_args(shlex.split(command))
        except SystemExit:
            understood = None
        assert understood is not None, f"snakemake {command}"


def test_commands_beside_snakemake_are_understood(checkout: Path) -> None:
    """The program knows all that the pages ask of it, and the configurations that it writes are there."""
    asked = [command_parser().parse_args(shlex.split(command)) for command in commands("sparse2dense")]
    assert {given.command for given in asked} == {"new", "status", "view"}
    for given in asked:
        if given.command == "view":
            check_view(given)
        if given.command == "new":
            made = yaml.safe_load((checkout / given.config).read_text())
            assert problems(made, SCHEMA) == []
            assert made["volumes"]["crop"]["annotation"]["sections"] == [30, 80, 130]


def test_the_program_is_installed_under_its_name() -> None:
    """What pyproject.toml calls `sparse2dense` is the command of the pages."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts[command_parser().prog].partition(":")
    assert getattr(importlib.import_module(module), function) is main


@pytest.mark.parametrize("line", plans(), ids=shlex.join)
def test_commands_can_be_planned(checkout: Path, line: list[str]) -> None:
    """Each command of the pages, as typed in the project's directory, leads to a plan without errors."""
    home = checkout / "home"
    environment = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    call = [sys.executable, "-m", "snakemake", *line, "--dry-run"]
    result = subprocess.run(call, cwd=checkout, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f"{shlex.join(line)}\n{result.stdout}{result.stderr}"


def test_resources_of_rules_are_as_documented() -> None:
    """The table of what jobs ask of a cluster names the numbers of the rules."""
    declared = {}
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for text in re.split(r"^(?:rule|checkpoint) ", file.read_text(), flags=re.MULTILINE)[1:]:
            if "script:" in text and "localrule: True" not in text:
                numbers = [
                    re.search(pattern, text)
                    for pattern in (r"threads: (\d+)", r"mem_mb=\w+\((\d+)", r"runtime=\w+\((\d+)")
                ]
                cpus, memory, minutes = (int(number[1]) for number in numbers if number)
                declared[text.split(":")[0]] = (cpus, memory // 1000, minutes / 60, int("gpu=" in text))
    page = (ROOT / "docs/howto/cluster.md").read_text()
    number = r"\| (\d+) \| (\d+) GB \| (\d+) h \| (\d) \|"
    for names, *values in re.findall(rf"^\| (`.*?`) {number}$", page, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            assert declared.pop(name) == tuple(map(int, values)), name
    most = re.search(rf"all others, at most {number}", page)
    assert most
    for name, asked in declared.items():
        assert all(one <= int(other) for one, other in zip(asked, most.groups(), strict=True)), name


def documented() -> list[str]:
    """All that stands as code in the tables of messages."""
    text = TROUBLESHOOTING.read_text()
    return [span[1].strip() for span in re.findall(r"(`+)(.+?)\1(?!`)", text)]


def assigned(function: ast.AST, name: str) -> list[ast.expr]:
    """The texts that a function assigns to a name."""
    return [
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, (ast.JoinedStr, ast.Constant, ast.IfExp))
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    ]


def patterns(node: ast.expr, function: ast.AST | None = None) -> list[str]:
    """Regular expressions of all texts that an expression can give: what differs may be anything.

    Names stand for what `function` assigns to them, if it is given.
    """
    if isinstance(node, ast.Constant):
        return [re.escape(str(node.value))]
    if isinstance(node, ast.JoinedStr):
        return ["".join(parts) for parts in product(*(patterns(value, function) for value in node.values))]
    if isinstance(node, ast.FormattedValue):
        return patterns(node.value, function)
    if isinstance(node, ast.IfExp):
        return patterns(node.body, function) + patterns(node.orelse, function)
    if isinstance(node, ast.BinOp):
        return ["".join(parts) for parts in product(patterns(node.left, function), patterns(node.right, function))]
    if isinstance(node, ast.Name) and function is not None:
        return [text for value in assigned(function, node.id) for text in patterns(value)] or [".*"]
    return [".*"]


def says_nothing(pattern: str) -> bool:
    """Whether a pattern is hardly more than what differs."""
    return len(re.findall(r"[a-z]", pattern)) < 3


class Message(NamedTuple):
    """What an InputError says: where it is raised, the pattern of the problem, and those of what is allowed."""

    where: str
    pattern: str
    allowed: list[str]


def messages() -> Iterator[Message]:
    """Every message of an InputError that the project raises."""
    for file in sorted((ROOT / "src").rglob("*.py")):
        tree = ast.parse(file.read_text())
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "InputError":
                    found = patterns(node.args[0])
                    if any(map(says_nothing, found)):
                        found = patterns(node.args[0], function)
                    allowed = next(patterns(keyword.value) for keyword in node.keywords if keyword.arg == "allowed")
                    # An error that is passed on says what the one before said.
                    for pattern in found if found != [".*"] else []:
                        yield Message(f"{file.relative_to(ROOT)}:{node.lineno}", pattern, allowed)


def longest_part(pattern: str) -> str:
    """The longest part of a message that never differs."""
    return max((re.sub(r"\\(.)", r"\1", part) for part in pattern.split(".*")), key=len)


def test_every_message_is_explained() -> None:
    """Each message for users stands in the page on troubleshooting, so that a search for it leads there."""
    known = documented()
    missing = [
        f"{m.where}: {m.pattern}" for m in messages() if not any(re.fullmatch(m.pattern, span) for span in known)
    ]
    assert missing == []


def test_long_parts_of_messages_are_quoted() -> None:
    """What never differs in a message stands in the page word by word; of short ones, what is allowed."""
    page = TROUBLESHOOTING.read_text()
    for message in messages():
        said = longest_part(message.pattern)
        texts = message.allowed if len(said) < 12 and says_nothing(message.pattern) else [message.pattern]
        for part in map(longest_part, texts):
            assert len(part) < 12 or part in page, f"{message.where}: {part}"
