"""Commands: parse, one call into the library, print."""
