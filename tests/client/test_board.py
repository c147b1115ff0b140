"""The display of `linewatch watch` shows current roll marks and the suspected rolls."""

from dataclasses import replace

from decisions import roll_mark, verdict
from rich.console import Console

from linewatch.client.watch import Board
from linewatch.contracts.verdict import RollMarkState
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.schema import decode


def shown(*marks) -> str:
    board, sequencer = Board(), Sequencer(1)
    for draft in drafts(replace(verdict(0), roll_marks=marks)):
        record = sequencer.record(draft)
        board.take(decode(record.topic.encode(), record.header, record.payload))
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(board.render(0.0))
    return console.export_text()


def test_a_roll_mark_is_shown_with_its_pitch_and_suspects_until_it_ends():
    text = shown(roll_mark())
    assert "1900.1 ± 0.5" in text
    assert "F7 top (F7) 100%" in text
    assert "5 of 6" in text
    assert "1900" not in shown(roll_mark(), roll_mark(RollMarkState.ENDED))
