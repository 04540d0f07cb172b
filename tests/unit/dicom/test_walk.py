"""Elements where they lie, and an element at the end of a path."""

from __future__ import annotations

import pytest

from dicom_bytes import Node, encode, sequence, text
from fileroom.dicom import walk

NODES = [
    text(0x00081030, "LO", "Head"),
    sequence(0x00081140, [text(0x00081155, "UI", "1.2")], [text(0x00081155, "UI", "1.3")], undefined=True),
    Node(0x00091010, "UN", [[text(0x00081155, "UI", "1.4")]], True, True),
    Node(0x60003000, "OW", bytes(10)),
]


@pytest.mark.parametrize("encoding", [walk.EXPLICIT_LE, walk.IMPLICIT_LE, walk.EXPLICIT_BE])
def test_elements_cover_the_bytes_without_gaps(encoding):
    nodes = NODES if encoding.little_endian else NODES[:2]  # unknown VRs hold little endian items
    data = encode(nodes, explicit=encoding.explicit_vr, order="<" if encoding.little_endian else ">")

    found = list(walk.elements(data, encoding))

    assert [element.tag for element in found] == [node.tag for node in nodes]
    assert [element.start for element in found] == [0, *(element.end for element in found[:-1])]
    assert found[-1].end == len(data)


def test_element_that_runs_past_the_end_says_how_much_it_needs():
    data = encode(NODES[:1])

    with pytest.raises(walk.RanOutError) as caught:
        list(walk.elements(data[:-2], walk.EXPLICIT_LE))

    assert caught.value.needed == len(data)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((0x00081030,), b"Head"),
        ((0x00081140, 1, 0x00081155), b"1.3\0"),
        ((0x00091010, 0, 0x00081155), b"1.4\0"),
        ((0x60003000,), bytes(10)),
    ],
)
def test_path_leads_to_its_element(path, value):
    data = encode(NODES)

    element, encoding = walk.locate(data, walk.EXPLICIT_LE, path)

    assert data[element.value_start : element.value_end] == value
    assert encoding == (walk.IMPLICIT_LE if path[0] == 0x00091010 else walk.EXPLICIT_LE)


@pytest.mark.parametrize("path", [(), (0x00100010,), (0x00081140, 2, 0x00081155), (0x00081030, 0, 0x00081155)])
def test_path_to_nowhere_finds_nothing(path):
    assert walk.locate(encode(NODES), walk.EXPLICIT_LE, path) is None


@pytest.mark.parametrize("encoding", [walk.EXPLICIT_LE, walk.IMPLICIT_LE, walk.EXPLICIT_BE])
def test_items_of_both_kinds_of_length_are_read_back(encoding):
    inner = walk.encode_element(0x00080100, b"SH", b"CODE", encoding)
    content = walk.encode_item(inner, encoding) + walk.encode_undefined_item(inner, encoding)

    found = list(walk.items(content, encoding))

    assert [content[first:last] for first, last, _ in found] == [inner, inner]
    assert [undefined for _, _, undefined in found] == [False, True]
