"""The transforms on Spark, as docs/scale.md shows it: the counts are those of the command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.environments import Environments, cache_folder
from tests.generated_docs import PROJECT
from tests.test_cli import call

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def spark(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that has PySpark."""
    if shutil.which("java") is None:
        pytest.skip("NOT TESTED WITH SPARK: there is no Java")
    environments = Environments(cache_folder(request, tmp_path_factory, "spark"), "REQUIRE_SPARK")
    # It comes as source only.
    return environments.folder("pyspark", ["pyspark>=4"], "--no-binary", "pyspark", beside_ours=True)


def test_spark_counts_as_the_command_does(place: Path, spark: Path) -> None:
    for _ in range(2):
        call("run", "--demo", "--destination", "parquet", "--no-reports")
    (code,) = re.findall(r"```python\n(.*?)```", (PROJECT / "docs" / "scale.md").read_text("utf-8"), flags=re.DOTALL)
    paths = os.pathsep.join([str(PROJECT), str(spark)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=place,
        env=os.environ | {"PYTHONPATH": paths, "PYSPARK_PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    by = ("number_kind", "country_code")
    said = call("report", "--by", *by, "--destination", "parquet", "--format", "csv", "--raw")
    names, *rows = [line.split(",") for line in said.splitlines()]
    kept = [place for place, name in enumerate(names) if name != "country_name"]
    assert done.stdout.splitlines() == [",".join(row[place] for place in kept) for row in (names, *rows)]
