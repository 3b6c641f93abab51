"""What can be wrong with the course's own files."""


class HandoutError(ValueError):
    """A handout cannot be built from its source as it stands; the message says where and why."""
