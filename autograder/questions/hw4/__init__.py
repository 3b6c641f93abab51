"""The questions of hw4, one file each."""
