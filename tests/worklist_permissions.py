"""Which permission each service of `worklist` asks for first: a coroutine that takes the archive asks, or stands in INNER."""

from __future__ import annotations

from typing import Final

from fileroom.core.access import Permission

_READ, _MANAGE = Permission.ORDER_READ, Permission.ORDER_MANAGE

WORKLIST: Final[dict[str, Permission]] = {
    "apply.apply_change": _MANAGE,
    "coercion.list_coercions": _READ,
    "coercion.put_coercion": _MANAGE,
    "coercion.remove_coercion": _MANAGE,
    "exceptions.dismiss_exceptions": _MANAGE,
    "exceptions.exception_counts": _READ,
    "exceptions.fix_exception": _MANAGE,
    "exceptions.fix_exceptions": _MANAGE,
    "exceptions.get_exception": _READ,
    "exceptions.list_exceptions": _READ,
    "exceptions.list_matches": _READ,
    "exceptions.look_at_exceptions": _READ,
    "exceptions.orders_named": _READ,
    "exceptions.undo_exception": _MANAGE,
    "matching.match_due": Permission.SYSTEM_MANAGE,
    "merge_preview.merged_records": _READ,
    "merge_preview.preview_merge": _MANAGE,
    "merge_preview.preview_unmerge": _MANAGE,
    "merges.merge_patients": _MANAGE,
    "merges.unmerge": _MANAGE,
    "order_search.get_order": _READ,
    "study_references.references_of_studies": _READ,
    "order_search.read_history": _READ,
    "order_search.search_orders": _READ,
    "order_search.search_steps": _READ,
    "order_search.show_order": _READ,
    "order_search.worklist_choices": _READ,
    "orders.put_order": _MANAGE,
    "orders.save_order": _MANAGE,
    "orders.set_order_state": _MANAGE,
    "availability.tell_availability": Permission.SYSTEM_MANAGE,
    "node_notices.cancel_notice": Permission.ROUTING_MANAGE,
    "node_notices.forget_old_notices": Permission.SYSTEM_MANAGE,
    "node_notices.list_notices": Permission.LEDGER_READ,
    "node_notices.resend_notice": Permission.ROUTING_MANAGE,
    "node_notices.send_notices": Permission.SYSTEM_MANAGE,
    "patient_editing.count_studies": _READ,
    "patient_editing.link_records": _MANAGE,
    "patient_editing.save_patient": _MANAGE,
    "patient_editing.unlink_records": _MANAGE,
    "patient_moves.list_moves": _READ,
    "patient_moves.move_patient_visit": _MANAGE,
    "patient_moves.undo_move": _MANAGE,
    "patient_search.get_patient": _READ,
    "patient_search.search_patients": _READ,
    "performed.create_performed_step": Permission.STUDY_STORE,
    "performed.get_performed_step": _READ,
    "performed.update_performed_step": Permission.STUDY_STORE,
    "procedure_codes.get_procedure_code": _READ,
    "procedure_codes.import_procedure_codes": _MANAGE,
    "procedure_codes.list_procedure_codes": _READ,
    "procedure_codes.put_procedure_code": _MANAGE,
    "procedure_codes.remove_procedure_code": _MANAGE,
    "query_log.list_callers": _READ,
    "query_log.list_queries": _READ,
    "step_list.list_worklist": _READ,
    "steps.find_steps": _READ,
    "why_not.explain": _READ,
    "worklist_views.get_view": _READ,
    "worklist_views.list_views": _READ,
    "worklist_views.put_view": _MANAGE,
    "worklist_views.remove_view": _MANAGE,
}

_ROWS: Final = "rows, for services that have asked and for background work"
_INSIDE: Final = "in the transaction of a service that has asked"

INNER: Final[dict[str, str]] = {
    "coercion.read_coercions": _ROWS,
    "matching.meet": _INSIDE,
    "matching.part": _INSIDE,
    "merges.in_transaction": "the transaction itself",
    "merges.merge": _INSIDE,
    "merges.merge_rows": _INSIDE,
    "merges.unmerge_named": _INSIDE,
    "merges.unmerge_rows": _INSIDE,
    "patient_images.show_arrived": _INSIDE,
    "patient_images.show_patient": _INSIDE,
    "patient_images.show_studies": _INSIDE,
    "patient_images.take_back": _INSIDE,
    "visit_moves.give_visit_to": _INSIDE,
    "visit_moves.move_visit": _INSIDE,
}
