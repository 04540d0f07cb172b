"""Which permission each service of `fhir` asks for first: a coroutine that takes the archive asks, or stands in INNER."""

from __future__ import annotations

from typing import Final

from fileroom.core.access import Permission

FHIR: Final[dict[str, Permission]] = {
    "documents.read_document": Permission.STUDY_VIEW,
    "everything.read_everything": Permission.ORDER_READ,
    "notices.tell_subscribers": Permission.SYSTEM_MANAGE,
    "report_versions.report_version": Permission.STUDY_VIEW,
    "report_versions.report_versions": Permission.STUDY_VIEW,
    "subscriptions.get_subscription": Permission.ROUTING_READ,
    "subscriptions.list_subscriptions": Permission.ROUTING_READ,
    "subscriptions.put_subscription": Permission.ROUTING_MANAGE,
    "subscriptions.remove_subscription": Permission.ROUTING_MANAGE,
}

_OF_THE_KIND: Final = "asks for the permission of the kind that it is given (tests/unit/web/fhir)"

INNER: Final[dict[str, str]] = {
    "search.read_resource": _OF_THE_KIND,
    "search.search_resources": _OF_THE_KIND,
}
