"""A failed test is run again alone (tests/again.py): real runs of pytest in their own folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]


class Project:
    """Tests of its own. A test counts its runs by the lines of ``runs``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pytest.ini").write_text("[pytest]\naddopts = -p tests.again\n")
        (folder / "conftest.py").write_text(
            "from pathlib import Path\n"
            "import pytest\n"
            "@pytest.fixture\n"
            "def run():\n"
            "    with Path('runs').open('a') as file:\n"
            "        file.write('x\\n')\n"
            "    return len(Path('runs').read_text().split())\n"
        )

    def write(self, text: str) -> None:
        (self.folder / "test_some.py").write_text(text)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        # The plugins of our own tests would only take time.
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env={**environment, "PYTHONPATH": str(HERE)},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def runs(self) -> int:
        return len((self.folder / "runs").read_text().split())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_what_passes_three_times_alone_is_let_through_and_named(project: Project) -> None:
    project.write(
        "import pytest\n"
        "@pytest.mark.parametrize('name', ['a name [with] more'])\n"
        "def test_once(run, name):\n"
        "    assert run > 1\n"
        "def test_other():\n"
        "    pass\n"
    )
    assert project.python("pytest").returncode == 1
    again = project.python("tests.again")
    assert again.returncode == 0, again.stdout
    assert "TO BE MENDED: test_some.py::test_once[a name [with] more]" in again.stderr
    assert project.runs == 4
    assert "1 passed" in again.stdout and "2 passed" not in again.stdout


def test_what_fails_one_of_the_three_times_has_failed(project: Project) -> None:
    project.write("def test_twice(run):\n    assert run in {2, 3}\n")
    assert project.python("pytest").returncode == 1
    assert project.python("tests.again").returncode == 1
    assert project.runs == 4


def test_many_that_fail_are_not_run_again(project: Project) -> None:
    project.write(
        "import pytest\n"
        "@pytest.mark.parametrize('n', range(4))\n"
        "def test_n(run, n):\n"
        "    assert run > 4\n"
    )
    assert project.python("pytest").returncode == 1
    again = project.python("tests.again")
    assert again.returncode == 1
    assert "4 tests" in again.stderr
    assert project.runs == 4


def test_a_run_that_broke_off_is_not_made_good(project: Project) -> None:
    project.write(
        "import pytest\n"
        "def test_once(run):\n"
        "    assert run > 1\n"
        "def test_end():\n"
        "    pytest.exit('no more', 3)\n"
        "def test_never():\n"
        "    assert False\n"
    )
    assert project.python("pytest").returncode == 3
    assert project.python("tests.again").returncode == 1
    assert project.runs == 1


def test_a_run_that_passed_or_never_was_gives_nothing_to_run(project: Project) -> None:
    assert project.python("tests.again").returncode == 1
    project.write("def test_fine():\n    pass\n")
    assert project.python("pytest").returncode == 0
    assert project.python("tests.again").returncode == 1
