"""The questions of every homework, one file each. Private: it holds cases, answers and mistakes."""
