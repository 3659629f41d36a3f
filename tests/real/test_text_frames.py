"""Text frames against the strings that the vendor's two SDKs write, typed out here."""

import pytest

from real.fairino import text_frames

JOINTS = [-20.12347, -100.0, 85.0, -75.0, -90.0, 0.0]
FLAT = (
    "ServoJ(-20.1235,-100.0000,85.0000,-75.0000,-90.0000,0.0000,0.0000,0.0000,0.0000,0.0000,"
    "0.0000,0.0000,0.0080,0.0000,0.0000,5)"
)
BRACES = (
    "ServoJ({-20.123,-100.000,85.000,-75.000,-90.000,0.000},{0.000,0.000,0.000,0.000},0.000,0.000,0.008,0.000,0.000,5)"
)


@pytest.mark.parametrize(("form", "text"), [("flat", FLAT), ("braces", BRACES)])
def test_servo_j_is_written_as_the_sdks_do_and_read_in_both_forms(form, text):
    assert text_frames.servo_j(form, JOINTS, 0.008, 5) == text
    name, arguments = text_frames.read_call(text)
    assert name == "ServoJ"
    assert arguments == pytest.approx([*JOINTS, 0, 0, 0, 0, 0, 0, 0.008, 0, 0, 5], abs=1e-3)


def test_a_frame_is_written_as_the_sdk_does():
    assert text_frames.encode(65537, 689, "ServoMoveStart()") == b"/f/bIII1III689III16IIIServoMoveStart()III/b/f"


def test_frames_with_a_wrong_length_or_torn_ones_are_not_read():
    good = text_frames.encode(3, 376, FLAT)
    assert text_frames.decode(good[:-4]) == []
    assert text_frames.decode(good.replace(b"5)", b"55)")) == []
    assert text_frames.decode(b"xx" + good + good) == [text_frames.TextFrame(3, 376, FLAT)] * 2


@pytest.mark.parametrize("content", ["", "ServoJ", "ServoJ(1,x)"])
def test_what_is_no_call_is_refused(content):
    with pytest.raises(ValueError):
        text_frames.read_call(content)
