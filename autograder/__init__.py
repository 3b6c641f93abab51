"""The course's machinery: checks, examiner, sandbox, grading, handouts."""
