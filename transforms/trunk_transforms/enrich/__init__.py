"""Values derived from one field: kind of number, kind of address, country, provider."""
