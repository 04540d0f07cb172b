"""The delivery ledger's own functions in the database: what must happen in one transaction, or under one lock.

    add_deliveries(planned)     called by `store_instances` in the transaction that stores the objects; destination 0 stands
                                for no delivery, only for the wish to be asked again when the study is complete
    finish_parcel(parcel, ...)  a lane lets go of a parcel: is there more, now or later?

A parcel's row is the lock between the two: what is added while a lane finishes is either seen by it, or makes the parcel
ready again.
"""

from __future__ import annotations

import enum
from typing import Final

CHANNEL: Final = "fileroom_parcels"
"""Notified with the destination's number when a parcel becomes ready."""
IS_BACK: Final = "+"
"""Before that number: the destination is to be tried at once, whatever failed before: an edge has called, a probe was answered,
somebody has ordered it."""


class DeliveryState(enum.StrEnum):
    """Where the delivery of one object to one destination stands."""

    GATHERING = "gathering"
    """It goes when its series or study is complete."""
    WAITING = "waiting"
    """It goes as soon as a lane comes to it, or at its next try."""
    SENT = "sent"
    """The destination has taken it; the proof that it is safe there is still to come."""
    DELIVERED = "delivered"
    """Proven as the destination asks."""
    FAILED = "failed"
    """Dead letter: nothing more happens by itself."""
    HELD = "held"
    """Somebody, or a rule, holds it back."""
    CANCELLED = "cancelled"
    """Not wanted any more."""
    QUARANTINED = "quarantined"
    """It could not be made fit to leave (de-identification fails closed)."""


OPEN_STATES: Final = (DeliveryState.GATHERING, DeliveryState.WAITING, DeliveryState.SENT, DeliveryState.HELD)
"""Something is still to happen."""


def delivery_functions_sql() -> str:
    """The text of the functions, for the schema's repeatables."""
    return f"{_ADD}\n{_READY}\n{_FINISH}"


_ADD: Final = """
DROP FUNCTION IF EXISTS add_deliveries(jsonb);
DROP FUNCTION IF EXISTS planned_deliveries(jsonb);
CREATE FUNCTION planned_deliveries(planned jsonb) RETURNS TABLE (destination_id integer, rule_id integer, until text,
    bonus_s integer, state text, cause text, instance_id bigint, study text, series text, sop text, class text, bytes bigint)
LANGUAGE sql IMMUTABLE AS $$
    SELECT (d->>0)::integer, (d->>1)::integer, d->>2, (d->>3)::integer,
        CASE WHEN d->>2 <> '' AND d->>4 = 'waiting' THEN 'gathering' ELSE d->>4 END, d->>5, (o->>'instance')::bigint,
        o->>'study', o->>'series', o->>'sop', o->>'class', (o->>'bytes')::bigint
    FROM jsonb_array_elements(planned) o, jsonb_array_elements(o->'deliveries') d
$$;
CREATE FUNCTION add_deliveries(planned jsonb) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    woken integer[];
BEGIN
    -- An idle parcel becomes ready; its row's lock keeps a lane from finishing it in the same moment.
    WITH changed AS (
        INSERT INTO parcel AS p (destination_id, study_instance_uid, state, rank_at)
            SELECT destination_id, study, CASE WHEN bool_or(state = 'waiting') THEN 'ready' ELSE 'idle' END,
                now() - make_interval(secs => max(bonus_s))
            FROM planned_deliveries(planned) WHERE destination_id > 0
            GROUP BY destination_id, study ORDER BY destination_id, study
            ON CONFLICT (destination_id, study_instance_uid) DO UPDATE SET state = 'ready', rank_at = excluded.rank_at
                WHERE p.state IN ('idle', 'later') AND excluded.state = 'ready'
            RETURNING destination_id, state)
    SELECT array_agg(DISTINCT destination_id) INTO woken FROM changed WHERE state = 'ready';
    INSERT INTO delivery (destination_id, parcel_id, rule_id, instance_id, study_instance_uid, series_instance_uid,
            sop_instance_uid, sop_class_uid, state, until, cause, bytes)
        SELECT d.destination_id, p.id, d.rule_id, d.instance_id, d.study, d.series, d.sop, d.class, d.state, d.until, d.cause,
            d.bytes
        FROM planned_deliveries(planned) d
        JOIN parcel p ON p.destination_id = d.destination_id AND p.study_instance_uid = d.study
        ORDER BY d.instance_id
        ON CONFLICT (destination_id, instance_id) DO NOTHING;
    INSERT INTO gathering AS g (study_instance_uid)
        SELECT DISTINCT study FROM planned_deliveries(planned) WHERE state = 'gathering' ORDER BY study
        ON CONFLICT (study_instance_uid) DO UPDATE SET last_at = now();
    PERFORM pg_notify('fileroom_parcels', one::text) FROM unnest(woken) AS one;
END $$;
"""

_READY: Final = """
DROP FUNCTION IF EXISTS wake_parcels(bigint[]);
-- Deliveries of these parcels have been made to wait (again): let lanes take them. A claimed one is looked at by its lane.
CREATE FUNCTION wake_parcels(ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    woken integer[];
BEGIN
    PERFORM 1 FROM parcel WHERE id = ANY(ids) ORDER BY destination_id, study_instance_uid FOR UPDATE;
    WITH changed AS (
        UPDATE parcel SET state = 'ready' WHERE id = ANY(ids) AND state IN ('idle', 'later')
            RETURNING destination_id)
    SELECT array_agg(DISTINCT destination_id) INTO woken FROM changed;
    PERFORM pg_notify('fileroom_parcels', one::text) FROM unnest(woken) AS one;
END $$;
"""

_FINISH: Final = """
DROP FUNCTION IF EXISTS finish_parcel(bigint, uuid);
-- The state that a parcel is left in; NULL when it is not the caller's any more.
CREATE FUNCTION finish_parcel(the_parcel bigint, the_claim uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    next_at timestamptz;
    now_is text;
BEGIN
    PERFORM 1 FROM parcel WHERE id = the_parcel AND claimed_by = the_claim AND state = 'claimed' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- A statement of its own: it sees what was committed while the lock was waited for.
    SELECT least(
        (SELECT min(due_at) FROM delivery WHERE parcel_id = the_parcel AND state = 'waiting'),
        (SELECT min(due_at) FROM delivery WHERE parcel_id = the_parcel AND state = 'sent')) INTO next_at;
    now_is := CASE WHEN next_at IS NULL THEN 'idle' WHEN next_at <= clock_timestamp() THEN 'ready' ELSE 'later' END;
    UPDATE parcel SET state = now_is, due_at = coalesce(next_at, due_at), claimed_by = NULL WHERE id = the_parcel;
    RETURN now_is;
END $$;
"""
