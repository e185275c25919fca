"""Compiles the contract into the package during the build of its wheel; keeps no generated file beside the sources."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ContractHook(BuildHookInterface[Any]):
    """Adds `cardbroker/v1`, generated from the repository's contract or from the copy in a source distribution."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generates the modules into a temporary folder and adds them to the wheel."""
        root = Path(self.root)
        protos = next(path for path in (root / "proto", root.parent.parent / "proto") if path.is_dir())
        self.folder = tempfile.TemporaryDirectory()
        generate(protos, Path(self.folder.name))
        build_data["force_include"][f"{self.folder.name}/cardbroker/v1"] = "cardbroker/v1"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes the temporary folder of the generated modules."""
        self.folder.cleanup()


def generate(protos: Path, output: Path) -> None:
    """Writes the modules for all files of the contract, with type stubs, below `output`."""
    files = sorted(str(path) for path in protos.glob("cardbroker/v1/*.proto"))
    outputs = [f"--{kind}_out={output}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", *outputs, *files], check=True)
