"""What enters: something to run at several memory sizes. What leaves: the size to choose, and why."""
