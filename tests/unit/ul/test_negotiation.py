"""Answers to requests for an association (PS3.8 9.3.3, 9.3.4; PS3.7 D.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from fileroom.core.limits import OPERATIONS_OUTSTANDING_MAX
from fileroom.ul.items import (
    AsyncOperationsWindow,
    ContextResult,
    ExtendedNegotiation,
    PresentationContextProposal,
    PresentationContextResult,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from fileroom.ul.negotiation import (
    AbstractSyntaxRule,
    AcceptancePolicy,
    AcceptedContext,
    IdentityAnswer,
    accepted_contexts,
    negotiate,
)
from fileroom.ul.pdu import (
    APPLICATION_CONTEXT_NOT_SUPPORTED,
    CALLED_AET_NOT_RECOGNIZED,
    CALLING_AET_NOT_RECOGNIZED,
    LOCAL_LIMIT_EXCEEDED,
    NO_REASON_GIVEN,
    PROTOCOL_VERSION_NOT_SUPPORTED,
    AssociateAC,
    AssociateRQ,
    decode,
    encode,
)
from unit.ul.strategies import associate_requests

CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT, EXPLICIT, JPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"

RULES = {
    CT: AbstractSyntaxRule((EXPLICIT, IMPLICIT), any_other=True, requestor_may_be_scp=True),
    FIND: AbstractSyntaxRule((EXPLICIT, IMPLICIT)),
}
POLICY = AcceptancePolicy(rule_of=RULES.get, called_aets=frozenset({"FILEROOM"}))


def proposal(context_id: int, abstract_syntax: str, *transfer_syntaxes: str) -> PresentationContextProposal:
    return PresentationContextProposal(context_id, abstract_syntax, transfer_syntaxes)


def request(*contexts: PresentationContextProposal, **user_information) -> AssociateRQ:
    return AssociateRQ("FILEROOM", "MODALITY", contexts, UserInformation(**user_information))


def accept(asked: AssociateRQ, policy: AcceptancePolicy = POLICY) -> AssociateAC:
    answer = negotiate(asked, policy)
    assert isinstance(answer, AssociateAC)
    return answer


ASKED = request(proposal(1, CT, IMPLICIT))


def test_each_context_gets_its_own_result() -> None:
    asked = request(
        proposal(1, CT, IMPLICIT, EXPLICIT),
        proposal(3, FIND, JPEG),
        proposal(5, "1.2.3.4", IMPLICIT),
        proposal(7, CT, JPEG),
        proposal(9, "not a uid", IMPLICIT),
    )
    assert accept(asked).presentation_contexts == (
        PresentationContextResult(1, ContextResult.ACCEPTANCE, EXPLICIT),
        PresentationContextResult(3, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, JPEG),
        PresentationContextResult(5, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, IMPLICIT),
        PresentationContextResult(7, ContextResult.ACCEPTANCE, JPEG),
        PresentationContextResult(9, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, IMPLICIT),
    )


def test_only_refusals_are_still_an_acceptance() -> None:
    asked = request(proposal(1, "1.2.3.4", IMPLICIT))
    assert accepted_contexts(asked, accept(asked)) == {}


@pytest.mark.parametrize(
    ("asked", "policy", "expected"),
    [
        (replace(ASKED, called_aet="OTHER"), POLICY, CALLED_AET_NOT_RECOGNIZED),
        (replace(ASKED, called_aet=""), POLICY, CALLED_AET_NOT_RECOGNIZED),
        (ASKED, replace(POLICY, calling_aets=frozenset({"ELSE"})), CALLING_AET_NOT_RECOGNIZED),
        (replace(ASKED, calling_aet=""), POLICY, CALLING_AET_NOT_RECOGNIZED),
        (replace(ASKED, protocol_version=2), POLICY, PROTOCOL_VERSION_NOT_SUPPORTED),
        (replace(ASKED, application_context="1.2.3"), POLICY, APPLICATION_CONTEXT_NOT_SUPPORTED),
        (ASKED, replace(POLICY, at_capacity=True), LOCAL_LIMIT_EXCEEDED),
    ],
)
def test_rejections_give_their_reason(asked, policy, expected) -> None:
    assert negotiate(asked, policy) == expected


def test_higher_protocol_versions_are_taken_if_they_include_the_first() -> None:
    assert accept(replace(ASKED, protocol_version=3)).protocol_version == 1


def test_every_called_title_is_taken_where_the_policy_names_none() -> None:
    accept(replace(ASKED, called_aet="ANY-SCP"), replace(POLICY, called_aets=None))


def test_roles_are_granted_as_far_as_the_rule_allows() -> None:
    asked = request(
        proposal(1, CT, IMPLICIT),
        proposal(3, FIND, IMPLICIT),
        roles=(RoleSelection(CT, True, True), RoleSelection(FIND, True, True), RoleSelection("1.2.3", False, True)),
    )
    answer = accept(asked)
    assert answer.user_information.roles == (RoleSelection(CT, True, True), RoleSelection(FIND, True, False))
    assert accepted_contexts(asked, answer) == {
        1: AcceptedContext(1, CT, IMPLICIT, requestor_is_scu=True, requestor_is_scp=True),
        3: AcceptedContext(3, FIND, IMPLICIT, requestor_is_scu=True, requestor_is_scp=False),
    }


def test_default_roles_hold_when_the_acceptor_does_not_answer_the_selection() -> None:
    asked = request(proposal(1, CT, IMPLICIT), roles=(RoleSelection(CT, False, True),))
    silent = AssociateAC("A", "B", (PresentationContextResult(1, ContextResult.ACCEPTANCE, IMPLICIT),))
    assert accepted_contexts(asked, silent)[1] == AcceptedContext(1, CT, IMPLICIT)


def test_extended_negotiation_is_answered_for_accepted_classes_only() -> None:
    asked = request(
        proposal(1, FIND, IMPLICIT),
        extended=(ExtendedNegotiation(FIND, b"\x01\x01\x01"), ExtendedNegotiation(CT, b"\x02")),
    )
    policy = replace(POLICY, extended_answer=lambda item: item.information[:2])
    assert accept(asked, policy).user_information.extended == (ExtendedNegotiation(FIND, b"\x01\x01"),)
    assert accept(asked).user_information.extended == ()


@pytest.mark.parametrize(
    ("wanted", "answered"),
    [
        (None, None),
        ((1, 1), (1, 1)),
        ((0, 0), (OPERATIONS_OUTSTANDING_MAX, OPERATIONS_OUTSTANDING_MAX)),
        ((500, 2), (OPERATIONS_OUTSTANDING_MAX, 2)),
    ],
)
def test_async_window_is_accepted_up_to_our_limit(wanted, answered) -> None:
    asked = request(proposal(1, CT, IMPLICIT), async_operations=wanted and AsyncOperationsWindow(*wanted))
    assert accept(asked).user_information.async_operations == (answered and AsyncOperationsWindow(*answered))


@pytest.mark.parametrize(("wants_response", "response"), [(True, b"ticket"), (False, None)])
def test_user_identity_is_answered_when_asked_for(wants_response: bool, response: bytes | None) -> None:
    identity = UserIdentity(2, b"ada", b"pw", positive_response_requested=wants_response)
    asked = request(proposal(1, CT, IMPLICIT), user_identity=identity)
    seen: list[UserIdentity] = []
    policy = replace(POLICY, check_identity=lambda who: seen.append(who) or IdentityAnswer(True, b"ticket"))
    assert accept(asked, policy).user_information.user_identity_response == response
    assert seen == [identity]
    assert accept(asked).user_information.user_identity_response is None


def test_refused_identity_rejects_the_association() -> None:
    asked = request(proposal(1, CT, IMPLICIT), user_identity=UserIdentity(1, b"eve"))
    assert negotiate(asked, replace(POLICY, check_identity=lambda _who: IdentityAnswer(False))) == NO_REASON_GIVEN


@given(associate_requests)
def test_every_answer_can_be_encoded_and_results_match_the_proposals(asked: AssociateRQ) -> None:
    answer = negotiate(asked, AcceptancePolicy(rule_of=lambda _uid: AbstractSyntaxRule((), any_other=True)))
    raw = encode(answer)
    assert decode(raw[0], raw[6:]) == answer
    if isinstance(answer, AssociateAC):
        assert [r.id for r in answer.presentation_contexts] == [p.id for p in asked.presentation_contexts]
