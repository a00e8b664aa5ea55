"""An exported table in a real spreadsheet program: no cell is a formula, every number and text is what was written."""

from __future__ import annotations

import math
import random
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from engine.history import export
from tests.unit.test_history_export import FORMULAS, PLAIN

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("soffice") is None, reason="needs LibreOffice")]
TABLE, OFFICE = (
    "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}",
    "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}",
)


# Comma alone, and all that people tick in the dialog.
@pytest.mark.parametrize("separators", ["44", "44/59/9"])
def test_no_formula_and_no_other_number(separators: str, tmp_path: Path) -> None:
    chance = random.Random(5)
    numbers = [struct.unpack("<d", chance.randbytes(8))[0] for _ in range(500)]
    numbers = [x for x in numbers if math.isfinite(x) and 1e-290 < abs(x) < 1e290] + [
        -0.5,
        1e-05,
        math.nan,
        math.inf,
        -math.inf,
    ]
    texts = [
        text for text in (*FORMULAS, *PLAIN, '"=1+1"', ";=1+1", ",=1+1", '=WEBSERVICE("http://127.0.0.1/")') if text
    ]
    rows = [{"n": n, "value": x, "text": texts[n % len(texts)], "end": -n} for n, x in enumerate(numbers)]
    export.to_file(tmp_path / "t.csv", lambda file: export.write_table(file, ["n", "value", "text", "end"], rows))
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
        if math.isfinite(row["value"]):  # its own files hold fifteen digits
            assert float(cells[1].get(f"{OFFICE}value", "nan")) == pytest.approx(row["value"], rel=2e-14)
        else:
            assert cells[1].get(f"{OFFICE}value-type") == "string"
        assert cells[2].get(f"{OFFICE}value-type") == "string" or row["text"] == "1e5"
