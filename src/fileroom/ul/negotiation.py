"""Answers an A-ASSOCIATE-RQ from a policy (PS3.8 7.1.1, 9.3.3; PS3.7 D.3). A pure function.

The policy says what the application offers; nothing here knows a SOP class. An answer that needs a database (is this
caller known?) is looked up by the caller first and put into the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fileroom.core.errors import InvalidRequestError
from fileroom.core.identifiers import UID
from fileroom.core.limits import OPERATIONS_OUTSTANDING_MAX, PDU_BYTES_MAX_RECEIVE
from fileroom.ul.items import (
    APPLICATION_CONTEXT_NAME,
    AsyncOperationsWindow,
    ContextResult,
    ExtendedNegotiation,
    PresentationContextProposal,
    PresentationContextResult,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from fileroom.ul.pdu import (
    APPLICATION_CONTEXT_NOT_SUPPORTED,
    CALLED_AET_NOT_RECOGNIZED,
    CALLING_AET_NOT_RECOGNIZED,
    LOCAL_LIMIT_EXCEEDED,
    NO_REASON_GIVEN,
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_NOT_SUPPORTED,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
)


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """A presentation context that both sides agreed on, with the roles of the association requestor."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    requestor_is_scu: bool = True
    requestor_is_scp: bool = False


@dataclass(frozen=True, slots=True)
class AbstractSyntaxRule:
    """How an abstract syntax is accepted.

    `transfer_syntaxes` stand in order of our preference; with `any_other` a transfer syntax that is not among them is
    taken too, if none of them was proposed. `requestor_may_be_scu` and `requestor_may_be_scp` bound role selection.
    """

    transfer_syntaxes: tuple[str, ...]
    any_other: bool = False
    requestor_may_be_scu: bool = True
    requestor_may_be_scp: bool = False


@dataclass(frozen=True, slots=True)
class IdentityAnswer:
    """The verdict on a user identity. `server_response` goes back if the requestor asked for a positive response."""

    accepted: bool
    server_response: bytes = b""


@dataclass(frozen=True, slots=True)
class AcceptancePolicy:
    """What an acceptor offers.

    `rule_of` gives the rule of an abstract syntax, None if it is not supported. `called_aets` and `calling_aets` None
    accept every title. `permits` says whether this requestor may use an abstract syntax that is supported.
    `extended_answer` gives the application information to answer, None to stay silent. `check_identity` None
    ignores user identities, which PS3.7 D.3.3.7 allows.
    """

    rule_of: Callable[[str], AbstractSyntaxRule | None]
    called_aets: frozenset[str] | None = None
    calling_aets: frozenset[str] | None = None
    at_capacity: bool = False
    permits: Callable[[str], bool] = lambda _uid: True
    pdu_bytes_max: int = PDU_BYTES_MAX_RECEIVE
    operations_max: int = OPERATIONS_OUTSTANDING_MAX
    extended_answer: Callable[[ExtendedNegotiation], bytes | None] = lambda _item: None
    check_identity: Callable[[UserIdentity], IdentityAnswer] | None = None


def negotiate(request: AssociateRQ, policy: AcceptancePolicy) -> AssociateAC | AssociateRJ:
    """The answer to `request` under `policy`. Every proposal gets a result; an acceptance may hold only refusals."""
    refusal = _reason_to_reject(request, policy)
    if refusal is not None:
        return refusal
    wanted = request.user_information
    identity_response: bytes | None = None
    if wanted.user_identity is not None and policy.check_identity is not None:
        verdict = policy.check_identity(wanted.user_identity)
        if not verdict.accepted:
            return NO_REASON_GIVEN
        if wanted.user_identity.positive_response_requested:
            identity_response = verdict.server_response
    results = tuple(_answer_context(proposal, policy) for proposal in request.presentation_contexts)
    accepted = {result.id for result in results if result.result is ContextResult.ACCEPTANCE}
    accepted_syntaxes = {p.abstract_syntax for p in request.presentation_contexts if p.id in accepted}
    answered = (
        (item, policy.extended_answer(item)) for item in wanted.extended if item.sop_class_uid in accepted_syntaxes
    )
    return AssociateAC(
        called_aet=request.called_aet,
        calling_aet=request.calling_aet,
        presentation_contexts=results,
        user_information=UserInformation(
            pdu_bytes_max=policy.pdu_bytes_max,
            async_operations=_answer_window(wanted.async_operations, policy.operations_max),
            roles=_answer_roles(wanted.roles, accepted_syntaxes, policy),
            extended=tuple(
                ExtendedNegotiation(item.sop_class_uid, info) for item, info in answered if info is not None
            ),
            user_identity_response=identity_response,
        ),
    )


def accepted_contexts(request: AssociateRQ, acceptance: AssociateAC) -> dict[int, AcceptedContext]:
    """What both sides agreed on, by identifier. Left out: what was never proposed, context or transfer syntax."""
    proposals = {proposal.id: proposal for proposal in request.presentation_contexts}
    proposed_roles = _by_sop_class(request.user_information.roles)
    granted_roles = _by_sop_class(acceptance.user_information.roles)
    contexts: dict[int, AcceptedContext] = {}
    for result in acceptance.presentation_contexts:
        proposal = proposals.get(result.id)
        if proposal is None or result.result is not ContextResult.ACCEPTANCE:
            continue
        if result.transfer_syntax not in proposal.transfer_syntaxes:
            continue
        syntax = proposal.abstract_syntax
        proposed, granted = proposed_roles.get(syntax), granted_roles.get(syntax)
        is_scu, is_scp = True, False  # the default roles, also when the acceptor does not answer (PS3.7 D.3.3.4)
        if proposed is not None and granted is not None:
            is_scu = proposed.scu_role and granted.scu_role
            is_scp = proposed.scp_role and granted.scp_role
        contexts[result.id] = AcceptedContext(result.id, syntax, result.transfer_syntax, is_scu, is_scp)
    return contexts


def _reason_to_reject(request: AssociateRQ, policy: AcceptancePolicy) -> AssociateRJ | None:
    if not request.protocol_version & PROTOCOL_VERSION:
        return PROTOCOL_VERSION_NOT_SUPPORTED
    if policy.at_capacity:
        return LOCAL_LIMIT_EXCEEDED
    if request.application_context != APPLICATION_CONTEXT_NAME:
        return APPLICATION_CONTEXT_NOT_SUPPORTED
    if policy.called_aets is not None and request.called_aet not in policy.called_aets:
        return CALLED_AET_NOT_RECOGNIZED
    if not request.calling_aet or (policy.calling_aets is not None and request.calling_aet not in policy.calling_aets):
        return CALLING_AET_NOT_RECOGNIZED
    return None


def _answer_context(proposal: PresentationContextProposal, policy: AcceptancePolicy) -> PresentationContextResult:
    rule = policy.rule_of(proposal.abstract_syntax) if _is_uid(proposal.abstract_syntax) else None
    if rule is None:
        return _refused(proposal, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED)
    if not policy.permits(proposal.abstract_syntax):
        return _refused(proposal, ContextResult.USER_REJECTION)
    for syntax in rule.transfer_syntaxes:
        if syntax in proposal.transfer_syntaxes:
            return PresentationContextResult(proposal.id, ContextResult.ACCEPTANCE, syntax)
    if rule.any_other:
        for syntax in proposal.transfer_syntaxes:
            if _is_uid(syntax):
                return PresentationContextResult(proposal.id, ContextResult.ACCEPTANCE, syntax)
    return _refused(proposal, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED)


def _refused(proposal: PresentationContextProposal, result: ContextResult) -> PresentationContextResult:
    # The transfer syntax of a refusal is not significant, but some peers want to see a valid one.
    syntax = proposal.transfer_syntaxes[0] if proposal.transfer_syntaxes else ""
    return PresentationContextResult(proposal.id, result, syntax)


def _is_uid(text: str) -> bool:
    try:
        UID(text)
    except InvalidRequestError:
        return False
    return True


def _answer_window(wanted: AsyncOperationsWindow | None, operations_max: int) -> AsyncOperationsWindow | None:
    """We perform at most `operations_max` at once; what we may invoke is left as the requestor offers it."""
    if wanted is None:
        return None
    return AsyncOperationsWindow(
        _smaller(wanted.invoked_max, operations_max), _smaller(wanted.performed_max, operations_max)
    )


def _smaller(wanted: int, ours: int) -> int:
    """The smaller of two windows, where 0 is without bound."""
    return min(wanted or ours, ours)


def _answer_roles(
    wanted: Iterable[RoleSelection], accepted_syntaxes: set[str], policy: AcceptancePolicy
) -> tuple[RoleSelection, ...]:
    answers: list[RoleSelection] = []
    for role in _by_sop_class(wanted).values():
        rule = policy.rule_of(role.sop_class_uid) if role.sop_class_uid in accepted_syntaxes else None
        if rule is not None:
            scu, scp = role.scu_role and rule.requestor_may_be_scu, role.scp_role and rule.requestor_may_be_scp
            answers.append(RoleSelection(role.sop_class_uid, scu, scp))
    return tuple(answers)


def _by_sop_class(roles: Iterable[RoleSelection]) -> dict[str, RoleSelection]:
    return {role.sop_class_uid: role for role in roles}
