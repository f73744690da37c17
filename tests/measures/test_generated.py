"""The benchmark's captures: what their maker knows about them is what the analysis says, and a lie is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from polltape.capture.reading import open_capture
from polltape.exchange import Exchange
from polltape.measures.analysis import Analysis, analyse

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "analyze"))

from traffic.check import wrong
from traffic.generate import generate

ROWS = 4_000


def nothing_to_import(_: Exchange) -> Exchange:
    raise AssertionError("a generated capture is Parquet only")


@pytest.fixture(scope="module", params=[1, 2])
def generated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Analysis]:
    capture = tmp_path_factory.mktemp("generated") / "capture"
    generate(capture, ROWS, seed=request.param)
    return capture, analyse(open_capture([capture], redact=nothing_to_import, observe=nothing_to_import))


def test_every_answer_is_the_truth(generated: tuple[Path, Analysis]) -> None:
    capture, analysis = generated
    assert analysis.exchanges == ROWS
    assert wrong(analysis, capture) == []


def test_every_lie_is_told(generated: tuple[Path, Analysis], tmp_path: Path) -> None:
    capture, analysis = generated
    truth = capture / "_truth"
    lies = tmp_path / "_truth"
    lies.mkdir()
    told = json.loads((truth / "truth.json").read_text())
    told["findings"]["RA001"] += 1
    (lies / "truth.json").write_text(json.dumps(told))
    operations, waits = (pq.read_table(truth / f"{name}.parquet") for name in ("operations", "waits"))
    later = pc.add(operations["duration_us"], 1)
    pq.write_table(
        operations.set_column(operations.schema.get_field_index("duration_us"), "duration_us", later).slice(1),
        lies / "operations.parquet",
    )
    verdicts = pa.array(["kept"] * waits.num_rows)
    pq.write_table(
        waits.set_column(waits.schema.get_field_index("verdict"), "verdict", verdicts), lies / "waits.parquet"
    )
    lines = wrong(analysis, tmp_path)
    heads = [line.split(":")[0] for line in lines]
    assert heads == ["RA001", "operation", "operation, duration_us", "wait, verdict"]
