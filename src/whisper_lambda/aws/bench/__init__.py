"""Cold starts, measured in pairs: our function, and one written as it is usually done."""
