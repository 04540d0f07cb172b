"""Every resource of the API, in the order in which the documentation shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fileroom.web.api.accounts import add_accounts
from fileroom.web.api.alerts import add_alerts
from fileroom.web.api.associations import add_associations
from fileroom.web.api.audit import add_audit
from fileroom.web.api.break_glass import add_break_glass
from fileroom.web.api.certificates import add_certificates
from fileroom.web.api.corrections import add_corrections
from fileroom.web.api.deid import add_deid
from fileroom.web.api.deliveries import add_deliveries
from fileroom.web.api.destinations import add_destinations
from fileroom.web.api.edges import add_edges
from fileroom.web.api.exceptions import add_exceptions
from fileroom.web.api.filters import add_filters
from fileroom.web.api.me import add_me
from fileroom.web.api.messages import add_messages
from fileroom.web.api.nodes import add_nodes
from fileroom.web.api.notices import add_notices
from fileroom.web.api.operations import Api
from fileroom.web.api.orders import add_orders
from fileroom.web.api.patients import add_patients
from fileroom.web.api.procedures import add_procedures
from fileroom.web.api.report_upkeep import add_report_upkeep
from fileroom.web.api.report_writing import add_report_writing
from fileroom.web.api.reports import add_reports
from fileroom.web.api.roles import add_roles
from fileroom.web.api.rules import add_rules
from fileroom.web.api.schedules import add_schedules
from fileroom.web.api.sendings import add_sendings
from fileroom.web.api.settings import add_settings
from fileroom.web.api.sources import add_sources
from fileroom.web.api.studies import add_studies
from fileroom.web.api.system import add_system
from fileroom.web.api.tokens import add_tokens
from fileroom.web.api.treatments import add_treatments
from fileroom.web.api.worklist import add_worklist

RESOURCES: Final[tuple[Callable[[Api], None], ...]] = (
    add_me,
    add_studies,
    add_corrections,
    add_sendings,
    add_filters,
    add_patients,
    add_orders,
    add_procedures,
    add_worklist,
    add_reports,
    add_report_writing,
    add_report_upkeep,
    add_nodes,
    add_notices,
    add_rules,
    add_destinations,
    add_deliveries,
    add_schedules,
    add_alerts,
    add_treatments,
    add_deid,
    add_sources,
    add_exceptions,
    add_edges,
    add_messages,
    add_associations,
    add_audit,
    add_accounts,
    add_roles,
    add_tokens,
    add_break_glass,
    add_settings,
    add_certificates,
    add_system,
)
