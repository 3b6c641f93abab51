"""Reference implementation of the lectures: MDPs, policies, rollouts, training loops."""
