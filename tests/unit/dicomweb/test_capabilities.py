"""The capabilities document holds what the table says."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET

from fileroom.dicomweb.capabilities import (
    WADL,
    Method,
    Parameter,
    ResourceDescription,
    capabilities_json,
    capabilities_wadl,
)

TABLE = (
    ResourceDescription(
        "studies/{study}/series",
        (
            Method(
                "GET",
                "SearchForSeries",
                "Series of a study & what matches",
                (Parameter("fuzzymatching", options=("true", "false")), Parameter("includefield", repeating=True)),
                returns=("application/dicom+json", 'multipart/related; type="application/dicom+xml"'),
                statuses=(200, 204),
            ),
        ),
    ),
    ResourceDescription("studies", (Method("POST", "StoreInstances", accepts=("application/dicom",)),)),
)


def test_wadl_lists_resources_methods_parameters_and_media_types() -> None:
    root = ET.parse(io.BytesIO(capabilities_wadl(TABLE, "http://host/dicom-web"))).getroot()
    space = {"w": "http://wadl.dev.java.net/2009/02"}
    resources = root.find("w:resources", space)
    assert resources is not None
    assert resources.get("base") == "http://host/dicom-web"
    assert [resource.get("path") for resource in resources] == ["studies/{study}/series", "studies"]
    assert resources.find("w:resource/w:param[@name='study'][@style='template']", space) is not None
    assert len(resources.findall(".//w:param[@name='fuzzymatching']/w:option", space)) == 2
    response = resources.find("w:resource/w:method/w:response", space)
    assert response is not None
    assert response.get("status") == "200 204"
    assert response[1].get("mediaType") == 'multipart/related; type="application/dicom+xml"'
    request = resources.find(".//w:method[@id='StoreInstances']/w:request/w:representation", space)
    assert request is not None
    assert request.get("mediaType") == "application/dicom"
    assert WADL.endswith("wadl+xml")


def test_json_form_has_the_same_table() -> None:
    found = json.loads(capabilities_json(TABLE, "http://host/dicom-web"))
    assert found["resources"][0]["path"] == "studies/{study}/series"
    assert found["resources"][1]["methods"][0]["accepts"] == ["application/dicom"]
