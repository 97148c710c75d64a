"""The document says what the cells say, and the cells are as many as promised."""

from __future__ import annotations

from collections import Counter

from tests.faults import cells, table


def test_the_document_has_the_matrix_as_the_cells_have_it() -> None:
    written = table.DOCUMENT.read_text(encoding="utf-8")
    assert written == table.with_section(written), "run `python -m tests.faults.table`"


def test_every_vendor_meets_every_fault_in_every_state() -> None:
    met = Counter((cell.vendor, cell.fault, cell.state) for cell in cells.ALL)
    assert max(met.values()) == 1
    wanted = {
        (vendor, fault, state) for vendor in ("STT", "TTS", "LLM") for fault in cells.FAULTS for state in cells.STATES
    }
    assert wanted <= set(met)
    assert {fault for vendor, fault, _ in met if vendor == "REST"} == set(cells.FAULTS)
    assert len(cells.ALL) + len(cells.OWN) * len(cells.MOMENTS) > 100
