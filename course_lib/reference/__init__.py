"""The assigned answers, and only those. Never handed out."""
