"""REINFORCE, TRPO and PPO as programs, their runs on disk, and `course train`."""
