"""The wheel: installed where nothing else of the project is, beside a user's own packages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from typing import TYPE_CHECKING
from zipfile import ZipFile

from packaging.requirements import Requirement

from tests.support.runs import PROJECT

if TYPE_CHECKING:
    from pathlib import Path


def succeed(*command: str, folder: Path, **environment: str) -> str:
    """Run the command in the folder and return what it prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SIP_TRUNKS"))}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=clean | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_works_beside_a_package_and_a_module_of_the_names_of_its_folders(tmp_path: Path) -> None:
    """Only an installation shows a file that the wheel lacks, or a name that it takes from somebody else."""
    succeed(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), folder=PROJECT)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    folders = (PROJECT / "pipelines", PROJECT / "transforms")
    kept = {str(file.relative_to(folder)) for folder in folders for file in folder.glob("*_t*/**/*") if file.is_file()}
    assert {name for name in kept if "__pycache__" not in name} <= packed
    assert {name.partition("/")[0] for name in packed} == {"sip_trunks", "trunk_transforms"}

    place = tmp_path / "environment"
    venv.create(place, with_pip=False, symlinks=True)
    python = str(place / "bin" / "python")
    site = succeed(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=tmp_path).strip()
    # The libraries, but not this project: a path that a .pth file adds has its own .pth files ignored.
    (tmp_path / site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    ZipFile(wheel).extractall(site)

    user = tmp_path / "user"
    (user / "pipelines").mkdir(parents=True)
    (user / "pipelines" / "__init__.py").write_text("OWNER = 'user'\n")
    (user / "transforms.py").write_text("OWNER = 'user'\n")
    code = "import pipelines, transforms, sip_trunks; print(pipelines.OWNER, transforms.OWNER, sip_trunks.__file__)"
    owners = succeed(python, "-c", code, folder=user).split()
    assert owners == ["user", "user", f"{site}/sip_trunks/__init__.py"]
    code = (
        "import sys; sys.modules['marimo'] = None; from sip_trunks.commands import main; sys.exit(main(['notebook']))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=user)
    assert "pipx inject sip-trunks marimo altair uvicorn" in done.stderr
    data = {"SIP_TRUNKS__DATA_DIR": str(user / "data")}
    assert "50 new" in succeed(python, "-m", "sip_trunks", "run", "--demo", folder=user, **data)
    assert (user / "data" / "reports" / "index.html").stat().st_size > 10_000


def test_the_image_gets_the_versions_of_the_lock(tmp_path: Path) -> None:
    """Only the command of the Dockerfile shows that pip understands what it writes."""
    (command,) = re.findall(r"^RUN (grep .*) > /constraints.txt", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    pins = [Requirement(line) for line in succeed("sh", "-c", command, folder=PROJECT).splitlines()]
    used = [pin.name for pin in pins if pin.marker is None or pin.marker.evaluate()]
    assert len(used) == len(set(used)) > 100
    assert {"dlt", "duckdb", "psycopg2-binary", "s3fs"} <= set(used)
    assert all(str(pin.specifier).startswith("==") for pin in pins)
