"""What enters: a recording and where a server is. What leaves: its words, heard over there."""
