"""A failed test is run again alone (tests/again.py): real runs of pytest in their own folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.again import OTHER_RECORD

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
        environment.pop(OTHER_RECORD, None)
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


def test_a_run_that_ended_at_its_first_failure_is_not_made_good(project: Project) -> None:
    project.write("def test_once(run):\n    assert run > 1\ndef test_never():\n    assert False\n")
    assert project.python("pytest", "-x").returncode == 1
    assert project.python("tests.again").returncode == 1
    assert project.runs == 1


def test_what_is_skipped_when_it_is_alone_has_not_passed(project: Project) -> None:
    project.write(
        "import pytest\n"
        "def test_once(run):\n"
        "    if run > 1:\n"
        "        pytest.skip('not alone')\n"
        "    assert False\n"
    )
    assert project.python("pytest").returncode == 1
    assert project.python("tests.again").returncode == 1
    assert project.runs == 2


def test_a_test_that_took_its_process_down_is_among_those_that_failed(project: Project) -> None:
    # Its process is replaced, and the next one may pass it.
    project.write(
        "import os, pytest\n"
        "def test_crash(run):\n"
        "    if run in {1, 4}:\n"
        "        os._exit(1)\n"
        "def test_other():\n"
        "    pass\n"
    )
    many = ("-p", "xdist", "-n", "1", "--dist", "loadscope")
    assert project.python("pytest", *many).returncode == 1
    assert project.python("tests.again").returncode == 1
    assert project.runs >= 3


def test_a_file_that_could_not_be_read_is_run_again_whole(project: Project) -> None:
    (project.folder / "broken").touch()
    project.write(
        "from pathlib import Path\n"
        "if Path('broken').exists():\n"
        "    raise ImportError('broken')\n"
        "def test_one(run):\n"
        "    pass\n"
    )
    (project.folder / "test_other.py").write_text("def test_other():\n    pass\n")
    assert project.python("pytest", "--continue-on-collection-errors").returncode == 1
    assert project.python("tests.again").returncode == 1
    (project.folder / "broken").unlink()
    again = project.python("tests.again")
    assert (again.returncode, project.runs) == (0, 3)


def test_a_run_that_passed_or_never_was_gives_nothing_to_run(project: Project) -> None:
    assert project.python("tests.again").returncode == 1
    project.write("def test_fine():\n    pass\n")
    assert project.python("pytest").returncode == 0
    assert project.python("tests.again").returncode == 1
