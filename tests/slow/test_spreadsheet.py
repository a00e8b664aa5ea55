"""An exported table in a real spreadsheet program: no cell is a formula, every number and text is what was written."""

from __future__ import annotations

import csv
import json
import math
import os
import random
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from engine.history import export
from tests.unit.test_history_export import FORMULAS, PLAIN

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("soffice") is None, reason="needs LibreOffice")]
TABLE, OFFICE = (
    "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}",
    "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}",
)


# Opens a table in the program itself and tells how many formulas there are, and every cell as it holds it.
THROUGH_ITS_API = """
import json, subprocess, sys, time, uno
from com.sun.star.beans import PropertyValue
def option(name, value):
    made = PropertyValue()
    made.Name, made.Value = name, value
    return made
place, profile, name = sys.argv[1:]
office = subprocess.Popen(["soffice", "-env:UserInstallation=file://" + profile, "--headless", "--norestore",
                           "--accept=pipe,name=" + name + ";urp;"])
try:
    local = uno.getComponentContext()
    resolver = local.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", local)
    for _ in range(300):
        try:
            context = resolver.resolve("uno:pipe,name=" + name + ";urp;StarOffice.ComponentContext")
            break
        except Exception:
            time.sleep(0.2)
    desktop = context.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", context)
    options = (option("Hidden", True), option("FilterName", "Text - txt - csv (StarCalc)"), option("FilterOptions", "44/59/9,34,76,1"))
    document = desktop.loadComponentFromURL("file://" + place, "_blank", 0, options)
    sheet = document.Sheets.getByIndex(0)
    cursor = sheet.createCursor()
    cursor.gotoEndOfUsedArea(False)
    end = cursor.RangeAddress
    cells = sheet.getCellRangeByPosition(0, 0, end.EndColumn, end.EndRow)
    print(json.dumps({"formulas": cells.queryContentCells(16).Count, "rows": [list(row) for row in cells.getDataArray()]}))
    document.close(True)
    try:
        desktop.terminate()
    except Exception:
        pass
finally:
    try:
        office.wait(20)
    except subprocess.TimeoutExpired:
        office.kill()
"""


def hostile_table(path: Path, count: int) -> list[dict[str, Any]]:
    """Random doubles and texts that begin like formulas."""
    chance = random.Random(5)
    numbers = [struct.unpack("<d", chance.randbytes(8))[0] for _ in range(count)]
    numbers = [x for x in numbers if math.isfinite(x) and 1e-290 < abs(x) < 1e290] + [
        -0.5,
        1e-05,
        0.1 + 0.2,
        math.nan,
        math.inf,
        -math.inf,
    ]
    texts = [
        text
        for text in (*FORMULAS, *PLAIN, '"=1+1"', ";=1+1", ",=1+1", '=WEBSERVICE("http://127.0.0.1/")')
        if text and text != "1e5"
    ]
    rows = [{"n": n, "value": x, "text": texts[n % len(texts)], "end": -n} for n, x in enumerate(numbers)]
    export.to_file(path, lambda file: export.write_table(file, ["n", "value", "text", "end"], rows))
    return rows


# Comma alone, and all that people tick in the dialog.
@pytest.mark.parametrize("separators", ["44", "44/59/9"])
def test_no_cell_is_a_formula_in_what_it_saves(separators: str, tmp_path: Path) -> None:
    rows = hostile_table(tmp_path / "t.csv", 500)
    subprocess.run(["soffice", f"-env:UserInstallation=file://{tmp_path}/profile", "--headless", f"--infilter=CSV:{separators},34,76,1",
                    "--convert-to", "fods", "--outdir", str(tmp_path), str(tmp_path / "t.csv")], check=True, capture_output=True, timeout=300)  # fmt: skip
    read = []
    for row in ET.parse(tmp_path / "t.fods").iter(f"{TABLE}table-row"):
        cells = [
            cell
            for cell in row.findall(f"{TABLE}table-cell")
            if int(cell.get(f"{TABLE}number-columns-repeated", "1")) < 50
        ]
        assert not [cell for cell in cells if cell.get(f"{TABLE}formula")]
        if cells and cells[0].get(f"{OFFICE}value") is not None:
            read.append(cells)
    assert [float(cells[0].get(f"{OFFICE}value", "nan")) for cells in read] == list(range(len(rows)))
    for cells, row in zip(read, rows, strict=True):
        assert float(cells[3].get(f"{OFFICE}value", "nan")) == row["end"]
        assert cells[2].get(f"{OFFICE}value-type") == "string"
        if math.isfinite(row["value"]):  # its own files hold fifteen digits
            assert float(cells[1].get(f"{OFFICE}value", "nan")) == pytest.approx(row["value"], rel=2e-14)
        else:
            assert cells[1].get(f"{OFFICE}value-type") == "string"


def test_it_holds_every_number_and_text_as_it_was_written(tmp_path: Path) -> None:
    python = "/usr/bin/python3"
    if (
        not Path(python).exists()
        or subprocess.run([python, "-c", "import uno"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs python3-uno")
    rows = hostile_table(tmp_path / "t.csv", 3000)
    words = [
        python,
        "-c",
        THROUGH_ITS_API,
        str(tmp_path / "t.csv"),
        str(tmp_path / "profile"),
        f"tunedeck{os.getpid()}",
    ]
    said = json.loads(subprocess.run(words, check=True, capture_output=True, text=True, timeout=300).stdout)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        written = list(csv.reader(file, strict=True))
    assert said["formulas"] == 0 and len(said["rows"]) == len(written) == len(rows) + 1
    for held, cells, row in zip(said["rows"][1:], written[1:], rows, strict=True):
        assert held[0] == row["n"] and held[3] == row["end"] and held[2] == cells[2]
        assert held[1] == (row["value"] if math.isfinite(row["value"]) else cells[1])
