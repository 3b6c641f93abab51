"""How close is right: wide enough for single precision and other algebra, far below any mistake."""

from autograder.student.exam import Close

TOLERANCE = Close(rtol=1e-5, atol=1e-6, single_rtol=1e-3)
