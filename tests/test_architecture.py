"""The layout holds: imports point downwards, light things stay light, bad habits stay out."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import torch_sr
from torch_sr.inference.engines import native

ROOT = Path(__file__).parents[1]
PACKAGE = Path(torch_sr.__file__).parent
LAYERS = [
    {"_native", "_version", "aliases", "errors", "files", "machine", "options"},
    {"networks", "metrics", "images", "tiling", "download", "devices", "client"},
    {"config"},
    {"models", "data"},
    {"losses", "inference"},
    {"cluster"},
    {"evaluation", "exporting", "planning", "serving"},
    {"training"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"torchvision", "spandrel", "lightning_fabric", "tensorboard", "albumentations", "cv2"}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imported(tree):
    """Every module of torch_sr that a file imports, wherever in the file, without "torch_sr."."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            names = [node.module]
            if node.module == "torch_sr":
                names = [f"torch_sr.{alias.name}" for alias in node.names]
        for name in names:
            if name.partition(".")[0] == "torch_sr":
                yield node.lineno, name.removeprefix("torch_sr").lstrip(".")


def modules():
    return pytest.mark.parametrize("path", MODULES, ids=name_of)


@modules()
def test_imports_point_downwards(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        return  # the public names are gathered from all layers
    assert own in LEVEL, f"give {own} a layer here and in CONTRIBUTING.md"
    for line, name in imported(ast.parse(path.read_text(encoding="utf-8"))):
        target = name.partition(".")[0]
        assert target in LEVEL, f"{path}:{line} imports torch_sr.{name}, which has no layer"
        assert target == own or LEVEL[target] < LEVEL[own], (
            f"{path}:{line}: {own} imports {name}, which is not lower"
        )


def test_the_check_sees_imports_inside_functions():
    code = "def f():\n    from torch_sr.cli import main\n    from torch_sr import data\n"
    assert list(imported(ast.parse(code))) == [(2, "cli"), (3, "data")]


@modules()
def test_bad_habits(path):
    assert path.stem not in VAGUE_NAMES
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} does not say what it is for"
    prints = "cli" in path.relative_to(PACKAGE).parts or path.parts[-2:] == (
        "config",
        "__main__.py",
    )
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        where = f"{path}:{node.lineno}: {called}"
        assert called not in {"eval", "exec", "__import__", "pickle.load", "pickle.loads"}, where
        assert called != "print" or prints, f"{where}: only commands print"
        assert "import_module" not in called or path.name in {"__init__.py", "lazy.py"}, where
        if called == "torch.load":
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert options.get("weights_only") == "True", where


def loaded_by(code):
    """The top-level packages that a fresh interpreter has loaded after running the code."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_torch_sr_is_light():
    loaded = loaded_by(
        "import torch_sr; torch_sr.__version__; torch_sr.TorchSRError; dir(torch_sr)"
    )
    assert "torch_sr" in loaded
    assert not loaded & (HEAVY | {"torch", "numpy", "pydantic", "typer", "rich"})


def test_the_upscaler_needs_no_training_packages():
    loaded = loaded_by("import torch_sr.inference.upscaler")
    assert "numpy" in loaded
    assert not loaded & (HEAVY | {"torch", "pydantic", "typer", "rich", "torchmetrics"})


UPSCALE = """
from torch_sr.cli.main import main
sys.argv = ["torch-sr", "upscale", {image!r}, "--quiet", "--device", "cpu", "--engine", {engine!r}]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


REPORT = """
from pathlib import Path
status = Path("/proc/self/status")
rows = status.read_text().splitlines() if status.exists() else []
print(*sys.modules, next((row.split()[1] for row in rows if row.startswith("VmHWM")), 0))
"""
"""The modules, and the most memory that was resident, in kilobytes: on Linux."""


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_an_upscale_imports_only_what_it_needs(tmp_path, save_photo, engine):
    if engine == "native" and not native.is_available():
        pytest.skip("torch_sr._native is not built")
    image = tmp_path / "photo.png"
    save_photo(image)
    code = f"import sys{UPSCALE.format(image=str(image), engine=engine)}{REPORT}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (tmp_path / "photo_sr.png").is_file()
    *names, peak = done.stdout.split()
    loaded = set(names)
    assert engine == "torch" or int(peak) <= 200_000
    assert "pyvips" in loaded
    packages = {name.partition(".")[0] for name in loaded}
    assert ("torch" in packages) == (engine == "torch")
    assert not packages & (HEAVY | {"matplotlib", "torchmetrics", "requests", "av", "sympy"})
    assert not packages & {"scipy", "skimage", "ncnn", "PIL", "tifffile", "pandas", "yaml"}
    for name in ("torch._dynamo", "torch_sr.config", "torch_sr.data", "torch_sr.evaluation"):
        assert name not in loaded


def test_the_configuration_needs_no_pytorch():
    assert not loaded_by("import torch_sr.config") & (HEAVY | {"torch", "numpy"})


def test_listing_the_models_needs_no_pytorch():
    loaded = loaded_by("from torch_sr.cli.models.listing import known_models; known_models()")
    assert not loaded & (HEAVY | {"torch"})


def test_the_client_needs_only_httpx():
    code = "from torch_sr import Client; Client('http://127.0.0.1:7860').close()"
    loaded = loaded_by(code)
    assert "httpx" in loaded
    assert not loaded & (HEAVY | {"torch", "numpy", "pydantic", "pyvips", "fastapi"})


def test_a_service_without_a_cluster_needs_no_ray():
    pytest.importorskip("fastapi", reason="needs the extra serve")
    loaded = loaded_by(
        "import torch_sr.cli.serve.command, torch_sr.serving.service\n"
        "import torch_sr.serving.cluster.deploy"
    )
    assert "prometheus_client" in loaded
    assert not loaded & {"ray", "pyarrow", "grpc"}


def test_scripts_import_what_exists():
    """Examples, scripts and benchmarks, most of which no test runs."""
    for folder in ("examples", "scripts", "benchmarks"):
        for path in (ROOT / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("torch_sr"):
                    module = importlib.import_module(node.module)
                    for name in (alias.name for alias in node.names):
                        found = hasattr(module, name) or find_spec(f"{node.module}.{name}")
                        assert found, f"{path.name}: {node.module}.{name}"
