"""The transforms on Spark, as docs/scale.md shows it: the counts are those of the command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.extras.pinned import pinned
from tests.support.environments import Environments, cache_folder
from tests.support.runs import PATIENCE_SECONDS, PROJECT, call

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def spark(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that has PySpark."""
    if shutil.which("java") is None:
        pytest.skip("NOT TESTED WITH SPARK: there is no Java; apt-get install openjdk-17-jre-headless")
    environments = Environments(cache_folder(request, tmp_path_factory, "spark"))
    # It comes as source only.
    return environments.folder("pyspark", pinned("spark"), "--no-binary", "pyspark", beside_ours=True)


def test_spark_counts_as_the_command_does(place: Path, spark: Path) -> None:
    """Only Spark shows that the lake's files and the transforms are what its own readers and workers can use."""
    for _ in range(2):
        call("run", "--demo", "--destination", "parquet", "--no-reports")
    (code,) = re.findall(r"```python\n(.*?)```", (PROJECT / "docs" / "scale.md").read_text("utf-8"), flags=re.DOTALL)
    paths = os.pathsep.join([str(PROJECT), str(spark)])
    # A busy machine takes longer to start Spark's Python processes than the 15 seconds that it would wait for them.
    patience = ("spark.python.authenticate.socketTimeout", "spark.network.timeout")
    (place / "spark-defaults.conf").write_text("".join(f"{name} {PATIENCE_SECONDS}s\n" for name in patience))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=place,
        env=os.environ
        | {
            "PYTHONPATH": paths,
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_CONF_DIR": str(place),
            # Java cannot open a file below a folder with a name that the locale cannot spell.
            "LC_ALL": "C.UTF-8",
            # Its driver and workers talk over loopback, whatever this machine's name resolves to.
            "SPARK_LOCAL_IP": "127.0.0.1",
        },
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    by = ("number_kind", "country_code")
    printed = call("report", "--by", *by, "--destination", "parquet", "--format", "csv", "--raw")
    names, *rows = [line.split(",") for line in printed.splitlines()]
    kept = [index for index, name in enumerate(names) if name != "country_name"]
    assert done.stdout.splitlines() == [",".join(row[index] for index in kept) for row in (names, *rows)]
