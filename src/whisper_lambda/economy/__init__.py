"""What enters: seconds, bytes, memory. What leaves: dollars, and the tier that fits a bound."""
