"""``torch-sr train``: train with a configuration or on photographs."""
