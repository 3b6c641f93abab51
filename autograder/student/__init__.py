"""What travels whole to students, and runs in their process."""
