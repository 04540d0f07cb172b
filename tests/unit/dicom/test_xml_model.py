"""The Native DICOM Model in XML, both ways, and documents that mean harm."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_bytes import encode, sequence, text
from dicom_models import models
from fileroom.core.errors import InvalidObjectError
from fileroom.dicom import uids
from fileroom.dicom.json_model import encoded_to_model, model_to_encoded
from fileroom.dicom.xml_model import NAMESPACE, encoded_to_xml, parse_xml, stream_xml, xml_to_dataset, xml_to_encoded

EXPLICIT = uids.EXPLICIT_VR_LITTLE_ENDIAN
N = {"n": NAMESPACE}


def document(*nodes, **options) -> ET.Element:
    data = encode([text(0x00080005, "CS", "ISO_IR 192"), *nodes])
    return ET.fromstring(encoded_to_xml(data, EXPLICIT, **options))


def native(inner: str) -> bytes:
    return f'<NativeDicomModel xmlns="{NAMESPACE}">{inner}</NativeDicomModel>'.encode()


def test_attributes_have_tag_vr_and_keyword():
    found = document(text(0x00081030, "LO", "Head & <Neck>\\")).find("n:DicomAttribute[@tag='00081030']", N)

    assert (found.get("vr"), found.get("keyword")) == ("LO", "StudyDescription")
    assert [(value.get("number"), value.text) for value in found] == [("1", "Head & <Neck>"), ("2", None)]


def test_names_have_groups_and_components():
    name = document(text(0x00100010, "PN", "Yamada^Tarou^^Dr=山田^太郎", "utf-8")).find(".//n:PersonName", N)

    assert name.find("n:Alphabetic/n:FamilyName", N).text == "Yamada"
    assert name.find("n:Alphabetic/n:NamePrefix", N).text == "Dr"
    assert name.find("n:Ideographic/n:GivenName", N).text == "太郎"
    assert name.find("n:Phonetic", N) is None


def test_items_and_bulk_data_are_nested():
    node = sequence(0x00081140, [text(0x00081155, "UI", "1.2.3")])

    found = document(node).find("n:DicomAttribute/n:Item[@number='1']/n:DicomAttribute/n:Value", N)

    assert found.text == "1.2.3"


def test_private_elements_name_their_creator():
    nodes = [text(0x00090011, "LO", 'A "B"'), text(0x00091102, "LO", "x")]

    found = document(*nodes).find("n:DicomAttribute[@tag='00090002']", N)

    assert found.get("privateCreator") == 'A "B"'


def test_control_characters_that_xml_cannot_write_are_left_out():
    assert document(text(0x00081030, "LO", "A\x07B")).find("n:DicomAttribute[@tag='00081030']/n:Value", N).text == "AB"


@settings(max_examples=100, deadline=None)
@given(models)
def test_model_to_xml_and_back_is_the_same_data_set(model):
    again = parse_xml(b"".join(stream_xml(model)))

    assert model_to_encoded(again).head == model_to_encoded(model).head


def test_private_block_is_found_again():
    nodes = [text(0x00090011, "LO", "ACME"), text(0x00091102, "LO", "x")]

    model = parse_xml(encoded_to_xml(encode(nodes), EXPLICIT))

    assert model["00090011"]["Value"] == ["ACME"]
    assert model["00091102"]["Value"] == ["x"]


def test_private_element_without_creator_element_gets_a_block():
    model = parse_xml(
        native('<DicomAttribute tag="00090002" vr="LO" privateCreator="ACME"><Value>x</Value></DicomAttribute>')
    )

    assert model == {"00090010": {"vr": "LO", "Value": ["ACME"]}, "00091002": {"vr": "LO", "Value": ["x"]}}


def test_dataset_from_xml():
    data = xml_to_dataset(
        native('<DicomAttribute tag="00280010" vr="US"><Value number="1">512</Value></DicomAttribute>')
    )

    assert data.Rows == 512


def test_bulk_data_is_resolved_by_uri_or_uuid():
    attribute = '<DicomAttribute tag="00420011" vr="OB"><BulkData {}="b1"/></DicomAttribute>'
    for kind in ("uri", "uuid"):
        encoded = xml_to_encoded(native(attribute.format(kind)), lambda path, vr, uri: uri.encode())
        assert encoded_to_model(encoded.head, EXPLICIT)["00420011"]["InlineBinary"] == "YjE="


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"<a/>",
        b"{}",
        b"<NativeDicomModel>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel>&b;</NativeDicomModel>',
        b'<DicomAttribute tag="00100010" vr="PN"/>',
        native('<DicomAttribute tag="Patient" vr="PN"/>'),
        native('<DicomAttribute tag="00280010" vr="US"><Value>x</Value></DicomAttribute>'),
        native('<DicomAttribute tag="00081140" vr="SQ"><Item>' * 60 + "</Item></DicomAttribute>" * 60),
        native('<DicomAttribute tag="00420011" vr="OB"><InlineBinary>A</InlineBinary></DicomAttribute>'),
        native("<a>" * 1000 + "</a>" * 1000),
    ],
)
def test_documents_that_are_none_are_refused(broken):
    with pytest.raises(InvalidObjectError):
        xml_to_encoded(broken)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["<Item>", "</Item>", "<Value>", "</Value>", "x", '<DicomAttribute tag="00081140" vr="SQ">'])
    )
)
def test_odd_documents_end_in_a_model_or_a_named_error(pieces):
    try:
        xml_to_encoded(native("".join(pieces)))
    except InvalidObjectError:
        return
