"""Digital and analog outputs of the control box and the tool flange. Inputs are wired to nothing and read 0."""

import math

from real.fairino.fault_codes import Code

BOX_OUTPUTS, TOOL_OUTPUTS = 16, 2
BOX_ANALOG, TOOL_ANALOG = 2, 1
FULL_SCALE = 4095.0  # the wire's value of 100 %


class InputsOutputs:
    """Outputs as bits and values; `values` names them as the state frames do."""

    def __init__(self) -> None:
        self._box_bits = self._tool_bits = 0
        self._box_analog, self._tool_analog = [0.0] * BOX_ANALOG, [0.0] * TOOL_ANALOG

    def set_box(self, number: int, status: int) -> int:
        code, self._box_bits = _with_bit(self._box_bits, number, status, BOX_OUTPUTS)
        return code

    def set_tool(self, number: int, status: int) -> int:
        code, self._tool_bits = _with_bit(self._tool_bits, number, status, TOOL_OUTPUTS)
        return code

    def set_box_analog(self, number: int, value: float) -> int:
        return _set_analog(self._box_analog, number, value)

    def set_tool_analog(self, number: int, value: float) -> int:
        return _set_analog(self._tool_analog, number, value)

    def values(self) -> dict:
        return {
            "do_low": self._box_bits & 0xFF, "do_high": self._box_bits >> 8, "do_tool": self._tool_bits,
            "std_AO0_box": self._box_analog[0], "std_AO1_box": self._box_analog[1], "std_AO_tool": self._tool_analog[0],
        }  # fmt: skip


def _with_bit(bits: int, number: int, status: int, count: int) -> tuple[int, int]:
    """Return a code, and `bits` with bit `number` as `status`; unchanged where the code is not OK."""
    if number not in range(count) or status not in (0, 1):
        return Code.WRONG_VALUE, bits
    mask = 1 << int(number)
    return Code.OK, bits | mask if status else bits & ~mask


def _set_analog(outputs: list[float], number: int, value: float) -> int:
    if number not in range(len(outputs)) or not math.isfinite(value) or not 0 <= value <= FULL_SCALE + 1e-6:
        return Code.WRONG_VALUE
    outputs[int(number)] = float(value)
    return Code.OK
