"""Every address of the console and its handler."""

from __future__ import annotations

import asyncio

from starlette.routing import BaseRoute, Route

from fileroom.archive.services import Archive
from fileroom.web.audited import audited
from fileroom.web.console.alerts_page import alerts_handlers
from fileroom.web.console.assets import ASSETS_PATH, asset_handler
from fileroom.web.console.associations_page import association_handlers
from fileroom.web.console.audit_page import audit_handlers
from fileroom.web.console.board_page import board_handlers
from fileroom.web.console.certificates_page import certificates_handlers
from fileroom.web.console.critical_page import critical_handlers
from fileroom.web.console.dashboard import figures_handler, now_handler, system_handler
from fileroom.web.console.deliveries_page import deliveries_handlers
from fileroom.web.console.delivery_actions import delivery_action_handlers
from fileroom.web.console.destinations_page import destinations_handlers
from fileroom.web.console.dictation_pages import CONTEXT_ROUTE, context_handler, dictation_handlers
from fileroom.web.console.downloads import download_handler
from fileroom.web.console.edges_page import edges_handlers
from fileroom.web.console.elsewhere_page import elsewhere_handlers
from fileroom.web.console.exceptions_page import exceptions_handlers
from fileroom.web.console.help_page import chapter_handler, help_handler, picture_handler
from fileroom.web.console.history_page import history_handler
from fileroom.web.console.hl7_feeds_page import hl7_feeds_handlers
from fileroom.web.console.hl7_mapping_page import mapping_handlers
from fileroom.web.console.hl7_pages import hl7_handlers
from fileroom.web.console.live import LiveAssociations, LiveStudies, live_associations_handler, live_handler
from fileroom.web.console.nodes_page import nodes_handlers
from fileroom.web.console.notices_page import notices_handlers
from fileroom.web.console.order_page import order_handlers
from fileroom.web.console.page import page_handler
from fileroom.web.console.patient_merge_page import patient_merge_handlers
from fileroom.web.console.patients_page import patients_handlers
from fileroom.web.console.procedures_page import procedures_handlers
from fileroom.web.console.projects_page import projects_handlers
from fileroom.web.console.reconciliation_page import reconciliation_handlers
from fileroom.web.console.report_editor import editor_handlers
from fileroom.web.console.report_files import report_files_handlers
from fileroom.web.console.report_page import report_handlers
from fileroom.web.console.report_templates_page import report_templates_handlers
from fileroom.web.console.routing_map_page import ROUTING_PATH, routing_map_handler
from fileroom.web.console.rules_page import rules_handlers
from fileroom.web.console.schedules_page import schedules_handlers
from fileroom.web.console.search_everywhere import search_handler
from fileroom.web.console.send_pages import send_handlers
from fileroom.web.console.sources_page import sources_handlers
from fileroom.web.console.studies import filters_handler, study_list_handler, study_rows_handler
from fileroom.web.console.study_page import attributes_handler, document_handler, look_handler, study_page_handler
from fileroom.web.console.treatments_page import treatments_handlers
from fileroom.web.console.workitems_page import workitems_handlers
from fileroom.web.console.worklist_page import worklist_handlers
from fileroom.web.console.worklist_views_page import views_handlers
from fileroom.web.console.worklist_why_page import why_handlers
from fileroom.web.endpoint import Endpoint, Handler

_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"


def console_routes(archive: Archive, stopping: asyncio.Event | None = None) -> list[BaseRoute]:
    """The routes of the pages, and of the files that they are dressed with. `stopping` ends the streams of changes."""

    def seen(handler: Handler, what: str) -> Handler:
        return audited(archive, handler, what)

    pages: dict[str, dict[str, Handler]] = {
        "/": {"GET": study_list_handler(archive)},
        "/studies/rows": {"GET": study_rows_handler(archive)},
        "/studies/filters": {"POST": filters_handler(archive)},
        "/studies/download": {"GET": download_handler(archive)},
        **send_handlers(archive),
        **elsewhere_handlers(archive),
        _STUDY: {"GET": seen(study_page_handler(archive), "study page")},
        f"{_STUDY}/history": {"GET": history_handler(archive)},
        f"{_SERIES}/look": {"GET": seen(look_handler(archive), "images")},
        f"{_INSTANCE}/attributes": {"GET": seen(attributes_handler(archive), "attributes")},
        f"{_INSTANCE}/document": {"GET": seen(document_handler(archive), "document")},
        "/search": {"GET": search_handler(archive)},
        **worklist_handlers(archive),
        **order_handlers(archive),
        **patients_handlers(archive),
        **patient_merge_handlers(archive),
        **procedures_handlers(archive),
        "/system": {"GET": system_handler(archive)},
        **exceptions_handlers(archive),
        **why_handlers(archive),
        **views_handlers(archive),
        **workitems_handlers(archive),
        **hl7_handlers(archive),
        **hl7_feeds_handlers(archive),
        **mapping_handlers(archive),
        **association_handlers(archive),
        **audit_handlers(archive),
        **nodes_handlers(archive),
        **notices_handlers(archive),
        **sources_handlers(archive),
        ROUTING_PATH: {"GET": routing_map_handler(archive)},
        **delivery_action_handlers(archive),
        **deliveries_handlers(archive),
        **schedules_handlers(archive),
        **alerts_handlers(archive),
        **rules_handlers(archive),
        **destinations_handlers(archive),
        **treatments_handlers(archive),
        **projects_handlers(archive),
        **edges_handlers(archive),
        **certificates_handlers(archive),
        **board_handlers(archive),
        **critical_handlers(archive),
        **reconciliation_handlers(archive),
        **dictation_handlers(archive),
        # Addresses with a number of a report stand behind the other pages of /reports.
        **report_templates_handlers(archive),
        **editor_handlers(archive),
        **report_handlers(archive),
        **report_files_handlers(archive),
        "/help": {"GET": help_handler(archive)},
        "/help/images/{name}": {"GET": picture_handler},
        "/help/{name:path}": {"GET": chapter_handler(archive)},
    }
    plain: dict[str, Handler] = {
        ASSETS_PATH: asset_handler,
        CONTEXT_ROUTE: context_handler(archive),
        "/system/figures": figures_handler(archive),
        "/system/now": now_handler(archive),
        "/events/studies": live_handler(archive, LiveStudies(archive, stopping)),
        "/events/associations": live_associations_handler(LiveAssociations(archive, stopping)),
    }
    routes: list[BaseRoute] = [Route(path, Endpoint(path, {"GET": handler})) for path, handler in plain.items()]
    for path, handlers in pages.items():
        told = {method: page_handler(archive, path, handler) for method, handler in handlers.items()}
        routes.append(Route(path, Endpoint(path, told)))
    return routes
