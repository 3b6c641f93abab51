"""The questions of hw3, one file each."""
