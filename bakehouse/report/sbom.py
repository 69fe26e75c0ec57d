"""Software bills of materials, CycloneDX and SPDX, from one inventory."""

import datetime
import json
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter
from spdx_tools.spdx.model import (
    Actor,
    ActorType,
    Checksum,
    ChecksumAlgorithm,
    CreationInfo,
    Document,
    ExternalPackageRef,
    ExternalPackageRefCategory,
    Relationship,
    RelationshipType,
    SpdxNoAssertion,
)
from spdx_tools.spdx.model import (
    Package as SpdxPackage,
)

from bakehouse.report.inventory import Inventory, Package

NAMESPACE = "https://bakehouse.invalid/images"


def purl(package: Package, inventory: Inventory) -> PackageURL:
    """The package URL (github.com/package-url/purl-spec) of a package."""
    if package.kind in {"deb", "rpm"}:
        qualifiers = {
            "arch": package.architecture,
            "distro": f"{inventory.distribution}-{inventory.release}",
        }
        return PackageURL(
            package.kind, inventory.distribution, package.name, package.version, qualifiers
        )
    qualifiers = {}
    if package.url:
        qualifiers["download_url"] = package.url
    return PackageURL(package.kind, None, package.name.lower(), package.version, qualifiers)


def cyclonedx(image: str, image_id: str, inventory: Inventory, created: datetime.datetime) -> str:
    """CycloneDX 1.6 JSON; the same image gives the same serial number and order."""
    root = Component(name=image, version=image_id, type=ComponentType.CONTAINER, bom_ref=image_id)
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"{NAMESPACE}/{image_id}"),
        components=[_component(package, inventory) for package in inventory.packages],
    )
    bom.metadata.component = root
    bom.metadata.timestamp = created
    bom.register_dependency(root, bom.components)
    return str(JsonV1Dot6(bom).output_as_string(indent=1)) + "\n"


def spdx(image: str, image_id: str, inventory: Inventory, created: datetime.datetime) -> str:
    """SPDX 2.3 JSON of the same inventory."""
    document = Document(
        CreationInfo(
            spdx_version="SPDX-2.3",
            spdx_id="SPDXRef-DOCUMENT",
            name=image,
            document_namespace=f"{NAMESPACE}/{image_id.replace(':', '-')}",
            creators=[Actor(ActorType.TOOL, "bakehouse")],
            created=created.replace(tzinfo=None, microsecond=0),
        )
    )
    document.packages = [
        SpdxPackage(
            spdx_id="SPDXRef-image",
            name=image,
            download_location=SpdxNoAssertion(),
            version=image_id,
            files_analyzed=False,
        )
    ]
    document.relationships = [
        Relationship("SPDXRef-DOCUMENT", RelationshipType.DESCRIBES, "SPDXRef-image")
    ]
    for number, package in enumerate(inventory.packages):
        spdx_id = f"SPDXRef-{package.kind}-{number}"
        document.packages.append(_spdx_package(spdx_id, package, inventory))
        document.relationships.append(
            Relationship("SPDXRef-image", RelationshipType.CONTAINS, spdx_id)
        )
    converter: Any = DocumentConverter  # its constructor is not typed
    return json.dumps(converter().convert(document), indent=1, default=str) + "\n"


def _component(package: Package, inventory: Inventory) -> Component:
    url = purl(package, inventory)
    references = (
        [ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(package.url))]
        if package.url
        else []
    )
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=package.sha256)] if package.sha256 else []
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=url.to_string(),
        external_references=references,
        hashes=hashes,
    )


def _spdx_package(spdx_id: str, package: Package, inventory: Inventory) -> SpdxPackage:
    return SpdxPackage(
        spdx_id=spdx_id,
        name=package.name,
        version=package.version,
        download_location=package.url or SpdxNoAssertion(),
        files_analyzed=False,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, package.sha256)] if package.sha256 else [],
        external_references=[
            ExternalPackageRef(
                ExternalPackageRefCategory.PACKAGE_MANAGER,
                "purl",
                purl(package, inventory).to_string(),
            )
        ],
    )
