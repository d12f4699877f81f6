"""What enters: audio and when it comes. What leaves: environments, waits, cold starts, dollars."""
