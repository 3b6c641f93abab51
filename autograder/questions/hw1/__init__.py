"""The questions of hw1, one file each."""
