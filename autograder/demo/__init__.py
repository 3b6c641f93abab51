"""A made-up class, and what hostile notebooks try."""
