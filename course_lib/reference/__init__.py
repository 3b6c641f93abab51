"""Private: the answers to the homework, and the agents made of them."""
