"""What follows from a value: kind of number, address, country, provider."""
