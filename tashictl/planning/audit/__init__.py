"""Hold the database against servers and hosts: what disagrees, and what mends it."""
