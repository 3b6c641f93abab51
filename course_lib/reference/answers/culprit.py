"""Homework answer: what is wrong with recorded runs of PPO."""

from __future__ import annotations


def culprit(run: int) -> str:
    """What a recorded run of PPO suffers from.

    run: its number (whole), one of the four examples or of your own four runs. Returns one of the
    names in `SUSPECTS`. [slide 66]
    Raises ValueError if it is another number.
    """
    from course_lib.find_the_bug import recording_of  # a term has numbers of its own

    runs = {
        "nothing": (9, 22, 23, 26, 45),
        "no clip": (7, 12, 13, 21, 28),
        "fresh log-probs": (6, 20, 32, 44, 46),
        "past the end": (3, 10, 27, 35, 37),
        "wrong sign": (5,),
        "idle critic": (8, 14, 36, 38, 41),
        "wrong targets": (11, 16, 29, 40, 47),
        "huge steps": (24, 30, 31, 33, 39),
        "too much entropy": (15,),
        "short sight": (2, 19, 25, 34, 42),
        "mixed-up rows": (1, 4, 17, 18, 43),
    }
    for name, numbers in runs.items():
        if recording_of(run) in numbers:
            return name
    raise ValueError(f"nobody knows what run {run} suffers from")
