"""Decoding inverts encoding, equal messages give equal bytes, and invalid messages are refused."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from decisions import alarm, coil_grade, coil_notice, defect_event, roll_mark, verdict
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from linewatch.contracts.crop import Crop, CropWindow
from linewatch.contracts.errors import WireError
from linewatch.contracts.frame import Cause
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import CoilState, DefectState, Extent, RollMarkState, RunMask, StripBox
from linewatch.wire import encode as encoding
from linewatch.wire.decode import alarm_from, defect_from
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.json_schema import wire_schema
from linewatch.wire.schema import (
    SCHEMA_MINOR,
    AlarmMessage,
    CoilMessage,
    DefectBody,
    DefectMessage,
    FrameMessage,
    RollMarkMessage,
    TimingBody,
    Topic,
    canonical,
    decode,
    decode_runs,
    encode_runs,
)


def messages(decided, epoch=1):
    sequencer = Sequencer(epoch)
    return [
        decode(r.topic.encode(), r.header, r.payload) for r in [sequencer.record(draft) for draft in drafts(decided)]
    ]


def test_a_verdict_becomes_its_frame_its_defects_and_its_alarms_in_order():
    decided = verdict(4, (defect_event(4), defect_event(4, DefectState.CLOSED, runs=0)), (alarm(4),), missed_lines=56)
    frame, opened, closed, raised = messages(decided)
    assert isinstance(frame, FrameMessage)
    assert frame.along_mm == (1024.0, 1280.0)
    assert frame.camera_sequence == 14
    assert [(s.lines, s.cause) for s in frame.spans] == [(200, None), (56, Cause.TRUNCATED)]
    assert frame.defect_ids == (opened.id, closed.id)
    assert frame.alarm_ids == (raised.id,)
    assert frame.timing.captured_ns == 1004
    assert isinstance(opened, DefectMessage)
    assert (opened.epoch, opened.sequence, closed.sequence) == (1, 0, 1)
    assert (opened.confidence, opened.along_mm, opened.ordinal) == (0.9123, (1024.0, 1027.123), 4)
    assert np.array_equal(opened.runs, defect_event(4).mask.runs)
    assert closed.mask is None
    assert len(closed.runs) == 0
    assert isinstance(raised, AlarmMessage)
    assert alarm_from(raised) == alarm(4)


def test_a_coil_notice_brings_its_last_defects_without_an_ordinal():
    coil, closed = messages(coil_notice(CoilState.ENDED, 512.0, (defect_event(1, DefectState.CLOSED, runs=0),)))
    assert isinstance(coil, CoilMessage)
    assert coil.defects_by_class == {"scratch": 1}
    assert closed.ordinal is None


def test_a_coils_grade_goes_with_its_end_and_a_severity_with_its_defect():
    closed = defect_event(1, DefectState.CLOSED, runs=0)
    closed = replace(closed, defect=replace(closed.defect, severity=4))
    ended = replace(coil_notice(CoilState.ENDED, 512.0, (closed,)), grade=coil_grade())
    coil, told = messages(ended)
    assert coil.grade.text == "C, of 97.2 % inspected"
    assert coil.grade.graded_mm == (1000.0, 99000.0)
    assert coil.grade.defects_by_severity == {"2": 4, "4": 3}
    assert coil.grade.reasons[0].defect_ids == ("C1/top/cam1/0.200",)
    assert told.severity == 4
    assert defect_from(told).severity == 4
    assert messages(coil_notice(CoilState.STARTED))[0].grade is None


def test_a_defect_survives_the_wire_but_for_rounding():
    (_, told) = messages(verdict(1, (defect_event(1),)))
    defect = defect_event(1).defect
    box = StripBox((100.0, 130.25), (256.0, 259.123))
    assert defect_from(told) == replace(defect, confidence=0.9123, box=box)


def test_a_roll_mark_has_a_topic_of_its_own_between_defects_and_alarms():
    decided = replace(verdict(4, (defect_event(4),), (alarm(4),)), roll_marks=(roll_mark(),))
    _, _, mark, raised = messages(decided)
    assert isinstance(mark, RollMarkMessage)
    assert isinstance(raised, AlarmMessage)
    assert (mark.state, mark.ordinal, mark.pitch_mm, mark.marks, mark.marks_due) == ("recognised", 4, 1900.123, 5, 6)
    assert (mark.suspects[0].roll, mark.suspects[0].diameter_mm) == ("F7 top", (600.0, 610.5))
    ended = replace(coil_notice(CoilState.ENDED, 512.0), roll_marks=(roll_mark(RollMarkState.ENDED),))
    assert messages(ended)[1].ordinal is None


def test_sequences_count_per_topic_and_the_heartbeat_names_the_next_ones():
    sequencer = Sequencer(7)
    for ordinal in range(3):
        for draft in drafts(verdict(ordinal, (defect_event(ordinal),) * ordinal)):
            sequencer.record(draft)
    assert sequencer.sequences == {"frame": 3, "defect": 3, "alarm": 0, "coil": 0, "roll_mark": 0}


def test_two_runs_differ_in_timing_and_nowhere_else():
    decided = verdict(1, (defect_event(1),), (alarm(1),))
    later = replace(decided, timing=Timing(*range(100, 106)))
    for one, other in zip(drafts(decided), drafts(later), strict=True):
        assert (one.body, one.payload) == (other.body, other.payload)
        assert one.timing != other.timing


def test_headers_are_canonical_json():
    header = Sequencer(1).record(drafts(verdict(0))[0]).header
    assert header == canonical(json.loads(header))
    assert b'"screen_peak":0.25' in header
    with pytest.raises(ValueError, match="Out of range float"):
        canonical({"peak": float("nan")})


def test_minus_zero_is_written_as_zero():
    header = Sequencer(1).record(drafts(coil_notice(CoilState.STARTED, -0.0))[0]).header
    assert b"-0.0" not in header


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 100), st.integers(1, 50)), max_size=50, unique_by=lambda r: r[0]
    )
)
def test_runs_survive_the_wire(rows):
    runs = np.array(sorted((line, start, start + length) for line, start, length in rows), np.int32).reshape(-1, 3)
    assert np.array_equal(decode_runs(encode_runs(runs)), runs)


@pytest.mark.parametrize(
    "runs",
    [
        [[1, 5, 5]],
        [[1, 6, 5]],
        [[-1, 0, 5]],
        [[1, -2, 5]],
        [[2, 0, 5], [1, 0, 5]],
        [[1, 0, 5], [1, 4, 9]],
        [[1, 0, 5], [1, 0, 5]],
    ],
)
def test_a_mask_that_is_none_is_refused(runs):
    with pytest.raises(WireError, match="sorted, half-open and disjoint"):
        decode_runs(encode_runs(np.array(runs)))


@given(st.binary(max_size=64), st.binary(max_size=200), st.binary(max_size=64))
def test_garbage_is_refused_with_one_kind_of_error(topic, header, payload):
    for name in (topic, *(t.value.encode() for t in Topic)):
        with pytest.raises(WireError):
            decode(name, header, payload)


def test_unknown_keys_wrong_sizes_and_stray_payloads_are_refused():
    record = Sequencer(1).record(drafts(verdict(0, (defect_event(0),)))[1])
    fields = json.loads(record.header)
    with pytest.raises(WireError, match="colour"):
        decode(b"defect", canonical(fields | {"colour": 1}), record.payload)
    with pytest.raises(WireError, match="topic"):
        decode(b"defect", canonical(fields | {"topic": "alarm"}), record.payload)
    with pytest.raises(WireError, match="came with 2 runs"):
        decode(b"defect", record.header, record.payload[12:])
    with pytest.raises(WireError, match="int32 triples"):
        decode(b"defect", record.header, record.payload[1:])
    frame = Sequencer(1).record(drafts(verdict(0))[0])
    with pytest.raises(WireError, match="with a payload of 3 bytes"):
        decode(b"frame", frame.header, b"abc")
    with pytest.raises(WireError, match="at most 1048576 are read"):
        decode(b"frame", b" " * (1 << 21), b"")


def test_another_schema_version_is_named_before_anything_else():
    fields = json.loads(Sequencer(1).record(drafts(verdict(0))[0]).header)
    with pytest.raises(WireError, match=r"schema version 2; this side speaks 1: upgrade"):
        decode(b"frame", canonical(fields | {"schema_version": 2, "new": 1}), b"")


def test_a_crop_is_a_png_of_the_size_that_its_header_says():
    _, png = cv2.imencode(".png", np.arange(35, dtype=np.uint8).reshape(5, 7))
    window = CropWindow(first_line=300, lines=5, left_px=20, columns=7, box=StripBox((10.0, 13.5), (300.0, 305.0)))
    record = Sequencer(3).crop(Crop(defect_event(0).defect, 1, None, 4, 99, window, 1.0, png.tobytes()), 123)
    message = decode(record.topic.encode(), record.header, record.payload)
    assert (message.epoch, message.sequence, message.coil_ordinal, message.ordinal) == (3, 0, 1, 4)
    assert message.timing.captured_ns == 99
    assert cv2.imdecode(np.frombuffer(message.png, np.uint8), cv2.IMREAD_UNCHANGED).tolist()[4][6] == 34
    for payload in (b"", record.payload[:-1], record.payload + b"x", b"x" * len(record.payload)):
        with pytest.raises(WireError, match="is no PNG of"):
            decode(b"crop", record.header, payload)


def test_a_mask_too_large_for_a_message_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(encoding, "MAX_MASK_RUNS", 4)
    event = defect_event(0)
    large = replace(event, mask=RunMask(0, defect_event(0, runs=5).mask.runs))
    _, kept, dropped = messages(verdict(0, (event, large)))
    assert (kept.mask_dropped, len(kept.runs)) == (False, 3)
    assert (dropped.mask_dropped, dropped.mask, len(dropped.runs)) == (True, None, 0)


def test_the_published_schema_is_the_one_in_the_docs():
    docs = Path(__file__).parents[2] / "docs" / "wire.schema.json"
    assert docs.read_text() == wire_schema(), "run: linewatch schema --out docs/wire.schema.json"


def test_every_message_about_strip_names_the_passage_of_its_coil():
    """A coil's id may come again, `(epoch, coil_ordinal)` does not; a coil's end still has its ordinal."""
    sequencer = Sequencer(1, "0123456789ab")
    decided = [
        coil_notice(CoilState.STARTED),
        verdict(0, (defect_event(0),), (alarm(0),)),
        coil_notice(CoilState.ENDED, 256.0, (defect_event(0, DefectState.CLOSED),)),
        coil_notice(CoilState.STARTED),
        verdict(0),
    ]
    records = [sequencer.record(draft) for one in decided for draft in drafts(one)]
    told = [decode(r.topic.encode(), r.header, r.payload) for r in records]
    assert [message.coil_ordinal for message in told] == [0, 0, 0, 0, 0, 0, 1, 1]
    assert {message.config for message in told if isinstance(message, CoilMessage)} == {"0123456789ab"}
    before_any = Sequencer(1).record(drafts(verdict(0))[0])
    assert decode(b"frame", before_any.header, b"").coil_ordinal is None


def test_a_nul_is_refused_at_the_door():
    """PostgreSQL stores none, and SQLite's tools end a text there."""
    for decided in (coil_notice(CoilState.STARTED), verdict(0, (defect_event(0),), (alarm(0),))):
        for draft in drafts(decided):
            record = Sequencer(1).record(draft)
            for name in (b"C1", b"cam1"):
                header = record.header.replace(b'"' + name, b'"' + name[:1] + b"\\u0000")
                assert header != record.header
                with pytest.raises(WireError, match="NUL character"):
                    decode(record.topic.encode(), header, record.payload)


def test_no_topic_is_a_prefix_of_another():
    """Who subscribes to one gets no other. A coil's name is in no topic."""
    for one in Topic:
        assert [other for other in Topic if other.value.startswith(one.value)] == [one]


@pytest.mark.parametrize(("extent", "probability"), [("mask", 0.99), ("tile", 0.9)])
def test_a_defect_of_before_2026_12_has_the_probability_that_it_had_without_a_model(extent, probability):
    event = defect_event(4)
    event = replace(event, defect=replace(event.defect, extent=Extent(extent), confidence=0.9, probability=0.5))
    told = json.loads(encoding.defect_draft(event, 4, TimingBody()).body.model_dump_json())
    assert told.pop("probability") == 0.5
    del told["evidence"]
    read = DefectBody.model_validate_json(json.dumps(told))
    assert (read.probability, read.evidence) == (probability, {})
    for name in ("peak", "confidence", "extent"):
        with pytest.raises(ValidationError, match=name):
            DefectBody.model_validate_json(json.dumps({key: value for key, value in told.items() if key != name}))


def newer(header, minor):
    """The message as a service of that minor version may tell it: with keys of its own on every level."""
    fields = json.loads(header)
    fields["schema_minor"], fields["mood"], fields["timing"]["slept_ns"] = minor, {"sunny": [1]}, 3
    fields["spans"][0]["colour"] = "blue"
    return canonical(fields)


def test_unknown_keys_are_ignored_in_a_message_of_a_newer_minor_version_only():
    record = Sequencer(1).record(drafts(verdict(0))[0])
    read = decode(b"frame", newer(record.header, SCHEMA_MINOR + 1), b"")
    assert read.model_copy(update={"schema_minor": SCHEMA_MINOR}) == decode(b"frame", record.header, b"")
    for minor in (0, SCHEMA_MINOR):
        with pytest.raises(WireError, match=r"Extra inputs are not permitted \(3 faults in all\)"):
            decode(b"frame", newer(record.header, minor), b"")


def test_a_newer_minor_version_excuses_no_other_fault():
    fields = json.loads(newer(Sequencer(1).record(drafts(verdict(0))[0]).header, SCHEMA_MINOR + 1))
    with pytest.raises(WireError, match="lines: Input should be a valid integer"):
        decode(b"frame", canonical(fields | {"lines": "many"}), b"")
    with pytest.raises(WireError, match="upgrade the older one"):
        decode(b"frame", canonical(fields | {"schema_version": 2}), b"")
    for minor in ("9", None, 1e9, 1 << 40):
        with pytest.raises(WireError):
            decode(b"frame", canonical(fields | {"schema_minor": minor}), b"")
