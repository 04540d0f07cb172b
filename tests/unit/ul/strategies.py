"""Hypothesis strategies for PDUs, as they come back from the wire: text without padding, bounded sizes."""

from __future__ import annotations

from hypothesis import strategies as st

from fileroom.ul.items import (
    AsyncOperationsWindow,
    CommonExtendedNegotiation,
    ContextResult,
    ExtendedNegotiation,
    PresentationContextProposal,
    PresentationContextResult,
    RoleSelection,
    UnknownItem,
    UserIdentity,
    UserInformation,
)
from fileroom.ul.pdu import (
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    PDataTF,
    Pdu,
    PresentationDataValue,
    ReleaseRP,
    ReleaseRQ,
)

uids = st.lists(st.integers(0, 99_999), min_size=2, max_size=6).map(lambda numbers: ".".join(map(str, numbers)))
aets = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\"), min_size=1, max_size=16)
u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
blobs = st.binary(max_size=40)
context_ids = st.integers(0, 127).map(lambda n: 2 * n + 1)


def _several(strategy, max_size=3):
    return st.lists(strategy, max_size=max_size).map(tuple)


user_information = st.builds(
    UserInformation,
    pdu_bytes_max=st.one_of(st.just(0), st.integers(8, 0xFFFFFFFF)),
    implementation_class_uid=uids,
    implementation_version_name=aets,
    async_operations=st.none() | st.builds(AsyncOperationsWindow, u16, u16),
    roles=_several(st.builds(RoleSelection, uids, st.booleans(), st.booleans())),
    extended=_several(st.builds(ExtendedNegotiation, uids, blobs)),
    common_extended=_several(st.builds(CommonExtendedNegotiation, uids, uids, _several(uids))),
    user_identity=st.none() | st.builds(UserIdentity, u8, blobs, blobs, st.booleans()),
    user_identity_response=st.none() | blobs,
    unknown=_several(st.builds(UnknownItem, st.integers(0x60, 0xFF), blobs)),
)


def _contexts(strategy):
    return st.lists(strategy, min_size=1, max_size=4, unique_by=lambda context: context.id).map(tuple)


_proposals = st.builds(
    PresentationContextProposal, context_ids, uids, st.lists(uids, min_size=1, max_size=4).map(tuple)
)
_results = st.builds(PresentationContextResult, context_ids, st.sampled_from(ContextResult), uids)

associate_requests = st.builds(AssociateRQ, aets, aets, _contexts(_proposals), user_information, uids, u16)
associate_acceptances = st.builds(AssociateAC, aets, aets, _contexts(_results), user_information, uids, u16)
_values = st.builds(
    PresentationDataValue, context_ids, st.booleans(), st.booleans(), st.binary(max_size=64).map(memoryview)
)

pdus: st.SearchStrategy[Pdu] = st.one_of(
    associate_requests,
    associate_acceptances,
    st.builds(AssociateRJ, u8, u8, u8),
    st.builds(PDataTF, st.lists(_values, min_size=1, max_size=4).map(tuple)),
    st.just(ReleaseRQ()),
    st.just(ReleaseRP()),
    st.builds(Abort, u8, u8),
)
