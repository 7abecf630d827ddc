#!/usr/bin/env python3
"""Lists what the program contains: `dependencies.py licences|sbom [--target TRIPLE]`.

`licences` prints the licence texts of all crates that are linked into the program; `sbom` prints a CycloneDX document.
Both read `cargo metadata` for one target, and leave out what only builds or tests need.
"""

import argparse
import datetime
import functools
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = "mooltiroute"
LICENCE_NAMES = ("license", "licence", "copying", "notice", "unlicense", "copyright")


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout)


def host():
    report = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return next(line.removeprefix("host: ") for line in report.splitlines() if line.startswith("host: "))


def linked(data):
    """Returns the packages that are linked into the program, and the names on which each one depends."""
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    (root,) = (id for id, package in packages.items() if package["name"] == PROGRAM)
    edges, waiting = {}, [root]
    while waiting:
        id = waiting.pop()
        if id in edges:
            continue
        # A dependency of kind `null` is a normal one; the others are of builds and tests.
        edges[id] = [
            dependency["pkg"]
            for dependency in nodes[id]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]) and not is_macro(packages[dependency["pkg"]])
        ]
        waiting += edges[id]
    return root, {id: packages[id] for id in edges}, edges


def is_macro(package):
    return any("proc-macro" in target["kind"] for target in package["targets"])


def licence_texts(package):
    directory = pathlib.Path(package["manifest_path"]).parent
    files = sorted(directory.iterdir())
    if package["license_file"]:
        files.append(directory / package["license_file"])
    found = [file for file in files if file.is_file() and file.name.lower().startswith(LICENCE_NAMES)]
    return [file.read_text(encoding="utf-8", errors="replace").strip() for file in found]


def print_licences(root, packages):
    by_text, without = {}, []
    for id, package in packages.items():
        if id == root or package["source"] is None:
            continue
        label = f"{package['name']} {package['version']} ({package['license'] or 'see its licence file'})"
        texts = licence_texts(package)
        if not texts:
            without.append(label)
        for text in texts:
            by_text.setdefault(text, set()).add(label)
    print(f"{PROGRAM} contains the following libraries. Each is listed with its licence and the text of it.")
    if without:
        print("\nThe packages of these have no file with the text; the licence they name applies:\n")
        print("\n".join(f"  {label}" for label in sorted(without)))
    for text, labels in sorted(by_text.items(), key=lambda item: sorted(item[1])):
        print("\n" + "=" * 80)
        print("\n".join(f"  {label}" for label in sorted(labels)))
        print("-" * 80)
        print("\n".join(line.rstrip() for line in text.splitlines()))


def component(package):
    url = f"pkg:cargo/{package['name']}@{package['version']}"
    entry = {"type": "library", "bom-ref": url, "name": package["name"], "version": package["version"], "purl": url}
    if package["license"]:
        # `MIT/Apache-2.0` is an older way to write an expression.
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums().get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


@functools.cache
def checksums():
    """Returns the sums of Cargo.lock by name and version."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))
    return {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}


def print_sbom(root, packages, edges, target):
    references = {id: component(package)["bom-ref"] for id, package in packages.items()}
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    lock = hashlib.sha256((ROOT / "Cargo.lock").read_bytes() + target.encode()).digest()
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # The same sources give the same document.
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=lock[:16], version=4)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(),
            "component": component(packages[root]) | {"type": "application"},
            "properties": [{"name": "cdx:rustc:target", "value": target}],
        },
        "components": [component(packages[id]) for id in sorted(packages, key=references.get) if id != root],
        "dependencies": [
            {"ref": references[id], "dependsOn": sorted({references[to] for to in edges[id]})}
            for id in sorted(packages, key=references.get)
        ],
    }
    json.dump(document, sys.stdout, indent=1)
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", choices=["licences", "sbom"])
    parser.add_argument("--target", default=None, help="the Rust target (default: this machine's)")
    arguments = parser.parse_args()
    # Write the same bytes on every system.
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    target = arguments.target or host()
    root, packages, edges = linked(metadata(target))
    if arguments.output == "licences":
        print_licences(root, packages)
    else:
        print_sbom(root, packages, edges, target)


main()
