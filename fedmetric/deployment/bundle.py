"""Write the Flower App Bundle's source: one pyproject.toml whose components are installed code.

A site that joins a federation runs only the fedmetric it installed and reviewed; nothing in the bundle is code. Use:
`python -m fedmetric.deployment.bundle DIR`, then `flwr build --app DIR`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tomli_w

from fedmetric import __version__


def bundle_project() -> str:
    """Return the text of the bundle's pyproject.toml."""
    return tomli_w.dumps(
        {
            "project": {
                "name": "fedmetric-app",
                "version": __version__,
                "description": "Names the installed fedmetric apps; holds no code",
                "license": "Apache-2.0",
                "dependencies": [f"fedmetric=={__version__}"],
            },
            "tool": {
                "flwr": {
                    "app": {
                        "publisher": "fedmetric",
                        "components": {
                            "serverapp": "fedmetric.server.app:app",
                            "clientapp": "fedmetric.clients.app:app",
                        },
                        "config": {"experiment": "glyphs", "out": "", "run": "", "deployment": ""},
                    }
                }
            },
        }
    )


def write_bundle(folder: Path) -> Path:
    """Write the bundle's source into a folder and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(bundle_project(), encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write_bundle(Path(sys.argv[1])))
