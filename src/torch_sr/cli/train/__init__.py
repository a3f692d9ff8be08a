"""``torch-sr train``: train networks by a configuration, or on a folder of photographs."""
