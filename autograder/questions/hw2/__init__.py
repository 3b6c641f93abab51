"""The questions of hw2, one file each."""
