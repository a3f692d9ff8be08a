"""The HTTP API: ``/v1`` for clients, ``/healthz``, ``/readyz`` and ``/metrics`` for operators."""
