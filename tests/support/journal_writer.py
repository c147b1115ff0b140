"""Appends verdict-like commits until it is killed, and prints the number of each appended frame."""

import random
import sys
from pathlib import Path

from linewatch.config.journal import JournalSettings
from linewatch.contracts.record import Record
from linewatch.journal.journal import Journal


def commit(epoch: int, ordinal: int, alarms: int) -> tuple[list[Record], int]:
    """Make the records of frame `ordinal`: two defects and, every third time, an alarm."""
    dice = random.Random(ordinal)
    records = [Record(epoch, "frame", ordinal, b'{"ordinal":%d}' % ordinal, b"")]
    records += [Record(epoch, "defect", 2 * ordinal + i, b"{}", dice.randbytes(dice.randrange(60_000))) for i in (0, 1)]
    if ordinal % 3 == 0:
        state = "raised" if alarms % 2 == 0 else "cleared"
        header = f'{{"id":"{epoch}/{alarms // 2}","state":"{state}"}}'.encode()
        records.append(Record(epoch, "alarm", alarms, header, b""))
        alarms += 1
    return records, alarms


if __name__ == "__main__":
    with Journal(JournalSettings(dir=Path(sys.argv[1]), max_mb=8, segment_mb=1, group_commit_ms=5.0)) as journal:
        print("epoch", journal.epoch, flush=True)
        ordinal = alarms = 0
        while True:
            records, alarms = commit(journal.epoch, ordinal, alarms)
            journal.append(records, sync=len(records) == 4)
            print(ordinal, flush=True)
            ordinal += 1
