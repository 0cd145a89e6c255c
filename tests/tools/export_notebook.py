"""notebooks/explore.ipynb, made of explore.py: `make notebooks` writes it, a test holds it in step.

Its code is run as Jupyter would run it, cell after cell in one namespace, on the demo account after three runs; what
a cell shows is kept as Jupyter would keep it.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat

from tests.support.runs import PROJECT
from tests.tools.demo import load_demo

SOURCE = PROJECT / "notebooks" / "explore.py"
NOTEBOOK = SOURCE.with_suffix(".ipynb")
RUNS = 3
_PREFACE = """\
> This is [explore.py](explore.py) for Jupyter, with what it shows of the demo account after three runs. It needs the
> extra: `pip install '.[notebook]'` in the project. The controls have their first value here: where a cell makes one,
> give it another `value=` and run what follows. With `sip-trunks notebook` they move."""
_MIMES = {"_repr_html_": "text/html", "_repr_markdown_": "text/markdown"}


def convert() -> dict[str, Any]:
    """Return explore.py as a notebook without outputs; its cells have the same ids every time."""
    command = [sys.executable, "-m", "marimo", "export", "ipynb", str(SOURCE), "--sort", "top-down"]
    made = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT)
    notebook: dict[str, Any] = json.loads(made.stdout)
    notebook["cells"].insert(0, {"cell_type": "markdown", "id": "preface", "source": _PREFACE.splitlines(True)})
    for cell in notebook["cells"]:
        # What it says is for marimo; who reads the code here wants to see all of it.
        cell["metadata"] = {}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook["metadata"] = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return notebook


def run_cells(notebook: dict[str, Any]) -> dict[str, Any]:
    """Run the code of a notebook in this process, put what each cell shows into it, and return the variables."""
    variables: dict[str, Any] = {"__name__": "__main__"}
    code_cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(code_cells, 1):
        shown = _run("".join(cell["source"]), variables)
        output = {"output_type": "execute_result", "execution_count": count, "metadata": {}}
        cell["execution_count"] = count
        cell["outputs"] = [] if shown is None else [output | {"data": _bundle(shown)}]
    return variables


def shows(source: str) -> bool:
    """Whether a cell ends with an expression."""
    body = ast.parse(source).body
    return bool(body) and isinstance(body[-1], ast.Expr)


def _run(source: str, variables: dict[str, Any]) -> Any:
    tree = ast.parse(source)
    last = tree.body.pop() if shows(source) else None
    exec(compile(tree, "<cell>", "exec"), variables)
    return (
        eval(compile(ast.Expression(last.value), "<cell>", "eval"), variables) if isinstance(last, ast.Expr) else None
    )


def _bundle(shown: Any) -> dict[str, Any]:
    """Return what Jupyter would keep of a value: the forms that it offers, and its text."""
    offered = getattr(shown, "_repr_mimebundle_", None)
    found = offered() if offered else {}
    bundle = dict(found[0] if isinstance(found, tuple) else found)
    for method, mime in _MIMES.items():
        made = getattr(shown, method)() if not bundle and hasattr(shown, method) else None
        bundle |= {mime: made} if made else {}
    png = bundle.get("image/png")
    bundle |= {"image/png": b64encode(png).decode()} if isinstance(png, bytes) else {}
    return bundle or {"text/plain": repr(shown)}


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        load_demo(Path(folder), RUNS)
        os.environ["SIP_TRUNKS__DATA_DIR"] = folder
        exported = convert()
        run_cells(exported)
    nbformat.validate(exported)
    NOTEBOOK.write_text(json.dumps(exported, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
