"""The weights room: a wished-for tier goes in, verified weights and a loaded engine come out."""
