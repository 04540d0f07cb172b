"""What the configuration holds beside the settings: the sections of every room, in the order in which they are applied.

A room above `admin` that has something to export and apply makes a ConfigurationSection of its own and is listed here.
"""

from __future__ import annotations

from typing import Final

from fileroom.admin.configuration_nodes import NODES
from fileroom.admin.configuration_sections import SECTIONS, ConfigurationSection
from fileroom.admin.entries import configuration_section
from fileroom.feeds.feeds import FEEDS
from fileroom.reports.critical_levels import LEVELS
from fileroom.reports.reporting_systems import SYSTEMS
from fileroom.reports.targets import TARGETS
from fileroom.reports.templates import TEMPLATES
from fileroom.routing.alerts import ALERTS
from fileroom.routing.destinations import DESTINATIONS
from fileroom.routing.edge_centres import CENTRES
from fileroom.routing.edges import EDGES
from fileroom.routing.prefetch_rules import PREFETCH
from fileroom.routing.project_fields import PROJECTS
from fileroom.routing.rules import rules_section
from fileroom.routing.schedules import SCHEDULES
from fileroom.routing.sources import SOURCES
from fileroom.routing.treatment import TREATMENTS
from fileroom.worklist.coercion import MATCHING
from fileroom.worklist.worklist_views import VIEWS

CONFIGURATION_SECTIONS: Final[tuple[ConfigurationSection, ...]] = (
    *SECTIONS,
    NODES,
    configuration_section(SCHEDULES),
    configuration_section(PROJECTS),
    configuration_section(TREATMENTS),
    configuration_section(DESTINATIONS),
    configuration_section(ALERTS),
    configuration_section(EDGES),
    configuration_section(CENTRES),
    rules_section(),
    configuration_section(SOURCES),
    configuration_section(PREFETCH),
    configuration_section(FEEDS),
    configuration_section(MATCHING),
    configuration_section(VIEWS),
    configuration_section(LEVELS),
    configuration_section(TARGETS),
    configuration_section(SYSTEMS),
    configuration_section(TEMPLATES),
)
