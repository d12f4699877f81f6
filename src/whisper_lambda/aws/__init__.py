"""AWS Lambda: its events in, answers out; the application inside is the one every server runs."""
