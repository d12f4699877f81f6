"""The rules of CONTRIBUTING.md that a tool can check. Each was broken once to see it fail."""

import ast
import hashlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import settings

import whisper_lambda
from whisper_lambda import errors
from whisper_lambda.config import PREFIX, Settings

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "whisper_lambda"
FIXTURES = ROOT / "tests" / "fixtures"
MODULES = sorted(SOURCE.rglob("*.py"))
HEAVY = {"av", "boto3", "ctranslate2", "dbos", "huggingface_hub", "onnxruntime", "sqlalchemy", "tokenizers"}
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

# Programs of their own, each ended with its one task: what they import no process of ours holds.
PROGRAMS = {"encoder_child.py": {"av"}}

# The benchmark runs opponents in processes of their own; those files stand for other programs.
OTHER_PROGRAMS = SOURCE / "tools" / "sides"


def imports(module: Path) -> Iterator[str]:
    """Yield the top-level name of every library a module imports, wherever in the file."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def tracked() -> list[Path]:
    """Return every file git knows, that exists and is text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [p for p in paths if p.is_file() and p.suffix not in {".flac", ".jpg", ".png", ".onnx", ".npz"}]


def error_classes() -> list[type[errors.WhisperLambdaError]]:
    found = [v for v in vars(errors).values() if inspect.isclass(v)]
    return [v for v in found if issubclass(v, errors.WhisperLambdaError)]


def test_each_heavy_library_is_imported_in_one_module_only() -> None:
    importers = defaultdict(set)
    for module in MODULES:
        if not module.is_relative_to(OTHER_PROGRAMS):
            for library in HEAVY.intersection(imports(module)) - PROGRAMS.get(module.name, set()):
                importers[library].add(str(module.relative_to(SOURCE)))

    assert {library: len(importers[library]) for library in HEAVY} == dict.fromkeys(HEAVY, 1), importers


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = "import sys, whisper_lambda; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not (HEAVY | {"numpy", "rich", "typer"}).intersection(loaded.stdout.split())


def reads_environment(module: Path) -> bool:
    """Tell whether a module names os.environ or os.getenv, or imports them from os."""
    doors = {"environ", "environb", "getenv"}
    nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    spelled = {ast.unparse(n) for n in nodes if isinstance(n, ast.Attribute)}
    imported = {a.name for n in nodes if isinstance(n, ast.ImportFrom) and n.module == "os" for a in n.names}
    return bool(doors.intersection(imported) or {f"os.{d}" for d in doors}.intersection(spelled))


def test_only_config_reads_the_environment() -> None:
    readers = [str(m.relative_to(SOURCE)) for m in MODULES if reads_environment(m)]

    assert readers == ["config.py"]


def test_error_codes_are_unique() -> None:
    codes = [error.code for error in error_classes()]

    assert len(codes) == len(set(codes)), sorted(codes)


def test_every_error_states_its_own_code() -> None:
    assert [e.__name__ for e in error_classes() if "code" not in vars(e)] == []


def test_the_error_tree_is_drawn_as_it_is() -> None:
    """The drawing's indentation is the inheritance, class by class, in the order of definition."""
    drawn = [re.match(r"( *)[*+.-] (\w+)", line) for line in (errors.__doc__ or "").splitlines()]
    parents: dict[int, str] = {-1: "Exception"}
    tree = []
    for line in filter(None, drawn):
        depth = len(line[1]) // 2
        parents[depth] = line[2]
        tree.append((line[2], parents[depth - 1]))

    assert tree == [(e.__name__, e.__mro__[1].__name__) for e in error_classes()]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(SOURCE)))
def test_all_is_sorted(module: Path) -> None:
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets):
            names = ast.literal_eval(node.value)

            assert list(names) == sorted(names)


def test_the_public_face_is_complete() -> None:
    missing = [name for name in whisper_lambda.__all__ if getattr(whisper_lambda, name, None) is None]

    assert missing == []


@pytest.mark.parametrize("room", [m for m in MODULES if m.name == "__init__.py"], ids=lambda m: m.parent.name)
def test_no_name_of_a_package_is_that_of_a_module_in_it(room: Path) -> None:
    """Importing cli/run.py would put the module where cli's function `run` was."""
    names = {n.name for n in ast.parse(room.read_text("utf-8")).body if isinstance(n, ast.FunctionDef)}

    assert names.intersection(m.stem for m in room.parent.iterdir()) == set()


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")

    assert [f.name for f in fields(Settings) if f"`{PREFIX}{f.name.upper()}`" not in page] == []


def test_every_error_code_is_documented() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")

    assert [e.code for e in error_classes() if f"`{e.code}`" not in page] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(SOURCE)))
def test_nothing_is_named_for_being_left_over(module: Path) -> None:
    """A module called utils, or a class called Manager, says nothing of what it does."""
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "base", "core", "manager"}

    assert not vague.intersection({*module.relative_to(SOURCE).parts, module.stem})
    named = [n.name for n in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(n, ast.ClassDef)]
    assert [n for n in named if re.search(r"(Manager|Handler|Factory|Registry|Helper|Utils?)$", n)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_locks_name_no_address_and_hash_everything(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    pins = re.findall(r"^[a-z].*?(?=^[a-z]|\Z)", text, re.MULTILINE | re.DOTALL)

    assert "://" not in text
    assert re.findall(r"^-.*", text, re.MULTILINE) == []
    assert [p.splitlines()[0] for p in pins if "==" not in p or "--hash=sha256:" not in p] == []


def pinned(lock: Path) -> set[tuple[str, str]]:
    return set(re.findall(r"^([a-z0-9-]+==\S+)(.*?) \\$", lock.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("lock", ["test.txt", "bench.txt"])
def test_tests_and_benchmarks_run_on_what_users_run_on(lock: str) -> None:
    there = pinned(ROOT / "requirements" / lock)
    missing = [pin for pin in pinned(ROOT / "requirements" / "run.txt") if not {pin, (pin[0], "")} & there]

    assert missing == []  # a test lock may want on every platform what users want on one


def test_no_path_of_a_developers_machine_is_committed() -> None:
    private = re.compile(r"(?<![\w.~}])/(root|work|home/[a-z]\w*|Users/[a-z]\w*)/(?!\.\.\.)", re.IGNORECASE)
    texts = {p: p.read_text(encoding="utf-8") for p in tracked() if p != Path(__file__)}

    assert [
        f"{p.relative_to(ROOT)}: {m[0]}" for p, text in texts.items() if (m := private.search(text))
    ] == []


def test_no_loose_ends_are_committed() -> None:
    loose = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    sources = [p for p in tracked() if p.suffix == ".py" and p != Path(__file__)]

    assert [str(p.relative_to(ROOT)) for p in sources if loose.search(p.read_text(encoding="utf-8"))] == []


SEEDED = {"default_rng", "Random", "RandomState", "SeedSequence", "PCG64"}  # with an argument
SHARED = {"random", "np.random", "numpy.random"}  # whose functions draw from a state nobody set


def luck(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that draw numbers nobody can draw again."""
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    shared = SHARED if "random" in imported else SHARED - {"random"}  # else it is somebody's own name
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        *module, name = ast.unparse(call.func).rsplit(".", 1)
        if (name in SEEDED and not call.args and not call.keywords) or (
            module and module[0] in shared and name not in SEEDED
        ):
            yield call.lineno


def haste(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that fail where the machine takes as long as a second, or so."""
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.Assert)):
        for compared in (n for n in ast.walk(node.test) if isinstance(n, ast.Compare)):
            sides = [compared.left, *compared.comparators]
            pairs = zip(sides, compared.ops, sides[1:], strict=False)
            for less, _, more in (p for p in pairs if isinstance(p[1], ast.Lt | ast.LtE)):
                clock = re.search(r"(monotonic|perf_counter|time\.time)\(\) -|\btook\b", ast.unparse(less))
                if clock and isinstance(more, ast.Constant) and more.value < 60:
                    yield node.lineno


TESTS = [p for p in sorted((ROOT / "tests").rglob("*.py")) if p != Path(__file__)]


@pytest.mark.parametrize("fault", [luck, haste])
def test_what_a_test_says_depends_on_neither_luck_nor_load(fault) -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in TESTS}

    assert [f"{p.relative_to(ROOT)}:{n}" for p, tree in trees.items() for n in fault(tree)] == []


def test_properties_are_tried_on_the_same_examples_in_every_run() -> None:
    if "PROPERTIES" in os.environ:
        pytest.skip("new examples were asked for")
    assert settings.default.derandomize
    assert settings.default.deadline is None


def test_the_fixtures_are_small_and_as_described() -> None:
    lines = [json.loads(line) for line in (FIXTURES / "prompts.jsonl").read_text("utf-8").splitlines()]
    attribution = (FIXTURES / "README.md").read_text(encoding="utf-8")

    assert sum(p.stat().st_size for p in FIXTURES.rglob("*") if p.is_file()) <= 1_500_000
    assert {line["audio"] for line in lines} == {p.name for p in FIXTURES.glob("*.flac")}
    for line in lines:
        assert hashlib.sha256((FIXTURES / line["audio"]).read_bytes()).hexdigest() == line["sha256"]
        assert f"`{line['audio']}`" in attribution


def test_the_readme_fits() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda p: p.name
)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readmes_file_tree_names_files_that_exist() -> None:
    tree = re.search(r"```tree\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert tree
    below: dict[int, str] = {}
    for line in tree[1].splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()
        below[len(indent)] = name
        folders = [below[i] for i in sorted(below) if i < len(indent)]
        assert (ROOT / "".join(folders) / name).exists(), line
