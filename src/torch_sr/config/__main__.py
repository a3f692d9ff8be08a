"""``python -m torch_sr.config`` prints the JSON Schema of a configuration."""

import json

from torch_sr.config import json_schema

if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
