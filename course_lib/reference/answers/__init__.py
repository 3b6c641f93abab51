"""The answers to the homework, one file each, named as the function in it. Never handed out.

The body of each function is what a student has to write; everything above it, the `validate` lines
included, stands in the handout.
"""
