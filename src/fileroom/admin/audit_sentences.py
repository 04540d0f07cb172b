"""From an event of the audit trail to one plain sentence: "Dr Kim viewed CT chest of patient 4711".

A sentence is a template with values, some of them sentences themselves, so that the console can say it in the reader's
language: `sentence.say(_)`. `N_` marks the templates for the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fileroom.admin.audit_message import Action, ActiveParticipant, EventCode, EventType, IdType, Role
from fileroom.admin.audit_names import Names
from fileroom.admin.audit_search import AuditRecord
from fileroom.core.access import ActorKind

_NO_NAMES: Final = Names()


def N_(message: str) -> str:
    """Mark a text for translation, gettext's way."""
    return message


@dataclass(frozen=True, slots=True)
class Sentence:
    """A template with values: texts, numbers, or sentences that stand inside of it."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)

    def say(self, translate: Callable[[str], str]) -> str:
        """The sentence in the language that `translate` speaks."""
        values = {
            name: value.say(translate) if isinstance(value, Sentence) else value for name, value in self.values.items()
        }
        return translate(self.template) % values

    def __str__(self) -> str:
        return self.say(str)


def sentence_of(record: AuditRecord, names: Names = _NO_NAMES) -> Sentence:
    """What happened, with the names of people and studies where `names` has them."""
    values: dict[str, object] = {
        "who": _who(record, names),
        "what": _what(record, names),
        "why": record.message.outcome_description,
        "other": _other(record),
        "name": _object_name(record),
        "asked": record.what,
    }
    return Sentence(_template(record), values)


# --- who, and to what ---


def _who(record: AuditRecord, names: Names) -> object:
    if not record.actor or record.actor_kind == ActorKind.NOBODY:
        return Sentence(N_("Somebody unknown"))
    if record.actor_kind == ActorKind.SYSTEM and record.actor == "local":
        return Sentence(N_("Somebody on the server"))
    if record.actor_kind == ActorKind.SYSTEM:
        by_command = record.event == EventCode.AUDIT_LOG_USED.value
        return Sentence(N_("A command on the server")) if by_command else "Fileroom"
    if record.actor_kind == ActorKind.TOKEN:
        return Sentence(N_("The token %(name)s"), {"name": record.actor})
    if record.actor_kind == ActorKind.NODE:
        return record.actor.partition("@")[0]
    return names.people.get(record.actor) or record.actor


def _what(record: AuditRecord, names: Names) -> object:
    studies = [one for one in record.message.objects if one.id_type.value == IdType.STUDY_UID.value]
    uids = [one.id for one in studies] or list(record.study_uids)
    count = sum(entry.instances for one in studies for entry in one.sop_classes)
    patients = [one for one in record.patient_ids if one]
    study: object
    if len(uids) == 1:
        known = names.studies.get(uids[0], "")
        study = known or Sentence(N_("a study"))
        if count:
            values = {"count": count, "study": study}
            study = Sentence(
                N_("1 object of %(study)s") if count == 1 else N_("%(count)s objects of %(study)s"), values
            )
    elif uids:
        study = Sentence(N_("%(count)s studies"), {"count": len(uids)})
    elif record.event == EventCode.PATIENT_RECORD.value and len(patients) == 1:
        return Sentence(N_("patient %(patient)s"), {"patient": patients[0]})
    elif record.event == EventCode.PATIENT_RECORD.value:
        return Sentence(N_("%(count)s patients"), {"count": len(patients)})
    else:
        study = Sentence(N_("something"))
    if len(patients) == 1:
        return Sentence(N_("%(study)s of patient %(patient)s"), {"study": study, "patient": patients[0]})
    if patients:
        return Sentence(N_("%(study)s of %(count)s patients"), {"study": study, "count": len(patients)})
    return study


def _other(record: AuditRecord) -> object:
    """The other side of a transfer: who received it, or the medium."""
    media = (Role.DESTINATION_MEDIA.value, Role.SOURCE_MEDIA.value)
    for wanted in (media, (Role.DESTINATION.value,)):
        for one in record.message.participants:
            if any(role.value in wanted for role in one.roles) and not _is_us(one):
                return one.user_id
    return Sentence(N_("somebody"))


def _is_us(one: ActiveParticipant) -> bool:
    return one.user_name == "fileroom"


def _object_name(record: AuditRecord) -> str:
    named = _first(one.name for one in record.message.objects if one.id_type.value not in _OF_PATIENTS)
    return named or record.actor


_OF_PATIENTS: Final = (IdType.PATIENT.value, IdType.STUDY_UID.value)


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")


# --- templates: by event and action or type, done and failed ---


def _template(record: AuditRecord) -> str:
    if record.event == EventCode.INSTANCES_TRANSFERRED.value and record.action == Action.READ and _came(record):
        return _AGAIN
    key = (record.event, record.event_type or record.action)
    done, failed = _TEMPLATES.get(key) or _TEMPLATES.get((record.event, "")) or (_UNKNOWN, _UNKNOWN)
    return failed if record.outcome else done


def _came(record: AuditRecord) -> bool:
    """Whether somebody else was the source of a transfer."""
    sources = [one for one in record.message.participants if any(role.value == Role.SOURCE.value for role in one.roles)]
    return any(not _is_us(one) for one in sources)


_AGAIN: Final = N_("%(who)s sent %(what)s once more; Fileroom has it already")
_UNKNOWN: Final = N_("%(who)s did something that this version has no words for: %(why)s")
_CHANGED: Final = N_("%(who)s changed %(name)s: %(why)s")
_TEMPLATES: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    (EventCode.INSTANCES_ACCESSED.value, Action.READ): (
        N_("%(who)s viewed %(what)s (%(why)s)"),
        N_("%(who)s could not view %(what)s: %(why)s"),
    ),
    (EventCode.INSTANCES_ACCESSED.value, Action.CREATE): (
        N_("%(who)s wrote about %(what)s: %(why)s"),
        N_("%(who)s could not write about %(what)s: %(why)s"),
    ),
    (EventCode.INSTANCES_ACCESSED.value, Action.UPDATE): (
        N_("%(who)s corrected %(what)s: %(why)s"),
        N_("%(who)s could not correct %(what)s: %(why)s"),
    ),
    (EventCode.INSTANCES_ACCESSED.value, Action.DELETE): (
        N_("%(who)s deleted a part of %(what)s: %(why)s"),
        N_("%(who)s could not delete a part of %(what)s: %(why)s"),
    ),
    (EventCode.ORDER_RECORD.value, ""): (
        N_("%(who)s changed an order, %(what)s: %(why)s"),
        N_("%(who)s could not change an order, %(what)s: %(why)s"),
    ),
    (EventCode.PATIENT_RECORD.value, ""): (
        N_("%(who)s changed the record of %(what)s: %(why)s"),
        N_("%(who)s could not change the record of %(what)s: %(why)s"),
    ),
    (EventCode.STUDY_DELETED.value, ""): (
        N_("%(who)s deleted %(what)s. %(why)s"),
        N_("%(who)s could not delete %(what)s: %(why)s"),
    ),
    (EventCode.INSTANCES_TRANSFERRED.value, Action.CREATE): (
        N_("%(who)s sent %(what)s to Fileroom"),
        N_("Fileroom did not keep what %(who)s sent: %(why)s"),
    ),
    (EventCode.INSTANCES_TRANSFERRED.value, Action.READ): (
        N_("%(what)s went to %(other)s, asked for by %(who)s"),
        N_("%(what)s could not be sent to %(other)s, asked for by %(who)s: %(why)s"),
    ),
    (EventCode.BEGIN_TRANSFERRING.value, ""): (
        N_("A transfer of %(what)s began, for %(who)s"),
        N_("A transfer of %(what)s could not begin, for %(who)s: %(why)s"),
    ),
    (EventCode.EXPORT.value, ""): (
        N_("%(who)s exported %(what)s: %(other)s"),
        N_("%(who)s could not export %(what)s: %(why)s"),
    ),
    (EventCode.IMPORT.value, ""): (
        N_("%(who)s imported %(what)s from %(other)s"),
        N_("%(who)s could not import all of %(other)s: %(why)s"),
    ),
    (EventCode.QUERY.value, ""): (
        N_("%(who)s searched: %(asked)s"),
        N_("A search of %(who)s failed: %(why)s"),
    ),
    (EventCode.USER_AUTHENTICATION.value, EventType.LOGIN.value): (
        N_("%(who)s logged in"),
        N_("Somebody could not log in as %(who)s: %(why)s"),
    ),
    (EventCode.USER_AUTHENTICATION.value, EventType.LOGOUT.value): (
        N_("%(who)s logged out"),
        N_("%(who)s could not log out: %(why)s"),
    ),
    (EventCode.SECURITY_ALERT.value, EventType.USE_OF_RESTRICTED_FUNCTION.value): (
        N_("%(who)s used what is restricted: %(why)s"),
        N_("%(who)s was not permitted: %(why)s"),
    ),
    (EventCode.SECURITY_ALERT.value, EventType.EMERGENCY_OVERRIDE_STARTED.value): (
        N_("%(who)s broke the glass: %(why)s"),
        N_("%(who)s could not break the glass: %(why)s"),
    ),
    (EventCode.SECURITY_ALERT.value, EventType.EMERGENCY_OVERRIDE_STOPPED.value): (
        N_("Break-glass ended or was reviewed, by %(who)s: %(why)s"),
        N_("Break-glass could not be ended by %(who)s: %(why)s"),
    ),
    (EventCode.SECURITY_ALERT.value, EventType.NETWORK_CONFIGURATION.value): (
        N_("%(who)s changed the node %(name)s: %(why)s"),
        N_("%(who)s could not change the node %(name)s: %(why)s"),
    ),
    (EventCode.SECURITY_ALERT.value, EventType.SECURITY_ROLES_CHANGED.value): (
        N_("%(who)s changed the role %(name)s: %(why)s"),
        N_("%(who)s could not change the role %(name)s: %(why)s"),
    ),
    (EventCode.SECURITY_ALERT.value, EventType.USER_SECURITY_CHANGED.value): (
        N_("%(who)s changed the account or token %(name)s: %(why)s"),
        N_("%(who)s could not change the account or token %(name)s: %(why)s"),
    ),
    (EventCode.SECURITY_ALERT.value, EventType.SOFTWARE_CONFIGURATION.value): (
        N_("%(who)s changed the setting %(name)s: %(why)s"),
        N_("%(who)s could not change the setting %(name)s: %(why)s"),
    ),
    (EventCode.SECURITY_ALERT.value, EventType.SECURITY_CONFIGURATION.value): (
        N_("%(who)s changed the setting of security %(name)s: %(why)s"),
        N_("%(who)s could not change the setting of security %(name)s: %(why)s"),
    ),
    (EventCode.SECURITY_ALERT.value, ""): (_CHANGED, _CHANGED),
    (EventCode.AUDIT_LOG_USED.value, ""): (
        N_("%(who)s read the audit trail: %(asked)s"),
        N_("%(who)s could not read the audit trail: %(asked)s"),
    ),
    (EventCode.APPLICATION_ACTIVITY.value, EventType.APPLICATION_START.value): (
        N_("Fileroom started"),
        N_("Fileroom could not start"),
    ),
    (EventCode.APPLICATION_ACTIVITY.value, EventType.APPLICATION_STOP.value): (
        N_("Fileroom stopped"),
        N_("Fileroom could not stop in order"),
    ),
    (EventCode.NETWORK_ENTRY.value, EventType.ATTACH.value): (
        N_("The ports were opened"),
        N_("The ports could not be opened"),
    ),
    (EventCode.NETWORK_ENTRY.value, EventType.DETACH.value): (
        N_("The ports were closed"),
        N_("The ports could not be closed"),
    ),
}
