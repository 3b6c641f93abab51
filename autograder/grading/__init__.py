"""A class, from files to marks."""
