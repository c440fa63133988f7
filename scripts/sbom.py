"""Prints what an environment consists of as a CycloneDX 1.5 bill of materials, from pip's own report.

pip --python /opt/driftline/bin/python inspect | python scripts/sbom.py
"""

import json
import sys
from typing import Any


def component(installed: dict[str, Any]) -> dict[str, Any]:
    about = installed["metadata"]
    name, version = about["name"], about["version"]
    described = {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{name.lower()}@{version}"}
    licence = about.get("license_expression") or about.get("license")
    return described | ({"licenses": [{"license": {"name": licence.splitlines()[0][:200]}}]} if licence else {})


def main() -> None:
    installed = json.load(sys.stdin)["installed"]
    components = sorted(map(component, installed), key=lambda entry: entry["name"].lower())
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}
    json.dump(bill, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
