"""What makes a partition go on: its assignment, restore, replay, and the commits between them."""
