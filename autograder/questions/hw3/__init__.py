"""The questions of homework 3."""
