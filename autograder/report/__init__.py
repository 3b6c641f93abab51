"""The pages people read after grading."""
