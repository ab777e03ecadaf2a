"""Used in the build (install.py): what the image holds as SPDX 2.3 JSON, from dpkg's list and the wheels' metadata.

Same contents, same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

PLACE = "/usr/share/homeport/sbom.spdx.json"
_CREATED = "1980-01-01T00:00:00Z"  # a real date would change the layer with every build


def debs(root: Path) -> Iterator[dict[str, str]]:
    release = (root / "etc/os-release").read_text()
    system = next((line[3:].strip('"') for line in release.splitlines() if line.startswith("ID=")), "linux")
    for paragraph in (root / "var/lib/dpkg/status").read_text().split("\n\n"):
        field = HeaderParser().parsestr(paragraph)
        if str(field["Status"]).endswith(" installed"):
            yield {
                "name": field["Package"],
                "version": field["Version"],
                "licence": "",
                "purl": f"pkg:deb/{system}/{field['Package']}@{field['Version']}?arch={field['Architecture']}",
            }


def wheels(root: Path) -> Iterator[dict[str, str]]:
    for path in sorted((root / "opt/homeport").glob("**/*.dist-info/METADATA")):
        field = HeaderParser().parsestr(path.read_text(encoding="utf-8", errors="replace"))
        name = re.sub(r"[-_.]+", "-", field["Name"]).lower()
        purl = f"pkg:pypi/{name}@{field['Version']}"
        yield {
            "name": name,
            "version": field["Version"],
            "licence": field.get("License-Expression", ""),
            "purl": purl,
        }


def document(root: Path) -> dict[str, object]:
    """The SPDX document of everything below `root`."""
    parts = sorted([*debs(root), *wheels(root)], key=lambda part: part["purl"])
    digest = hashlib.sha256("\n".join(part["purl"] for part in parts).encode()).hexdigest()
    names = ["SPDXRef-" + re.sub(r"[^A-Za-z0-9.]+", "-", part["purl"].removeprefix("pkg:")) for part in parts]
    packages = [
        {
            "SPDXID": spdx,
            "name": part["name"],
            "versionInfo": part["version"],
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": part["licence"] or "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "externalRefs": [
                {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": part["purl"]}
            ],
        }
        for part, spdx in zip(parts, names, strict=True)
    ]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "homeport-stack",
        "documentNamespace": f"urn:homeport:spdx:{digest}",
        "creationInfo": {"created": _CREATED, "creators": ["Tool: homeport"]},
        "packages": packages,
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": spdx}
            for spdx in names
        ],
    }


def text(root: Path) -> str:
    return json.dumps(document(root), indent=1, sort_keys=True) + "\n"
