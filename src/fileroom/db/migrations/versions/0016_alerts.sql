-- How destinations are, what is alarming, and what was done over time.

-- What sends and probes have shown of a destination. `failures` in a row: a success of a probe alone does not forget them.
CREATE TABLE destination_health (
    destination_id integer PRIMARY KEY REFERENCES named_entry,
    state text NOT NULL DEFAULT 'up' CHECK (state IN ('up', 'suspect', 'down')),
    failures integer NOT NULL DEFAULT 0,
    cause text NOT NULL DEFAULT '',
    since timestamptz NOT NULL,
    asked_at timestamptz NOT NULL,
    failed_at timestamptz,
    trial_at timestamptz NOT NULL
);

-- When the next byte and the next object may go to a destination that has a pace, for all processes together. The pace
-- stands beside it, so that a debt made at another pace is counted anew.
CREATE TABLE throttle_account (
    destination_id integer PRIMARY KEY REFERENCES named_entry,
    bytes_free_at timestamptz NOT NULL,
    objects_free_at timestamptz NOT NULL,
    bytes_s double precision NOT NULL,
    objects_s double precision NOT NULL
);

-- Something that is, or was, as an alert condition says: one row from its beginning to its end. `subject` is what it is
-- about: a destination's name, empty for the whole. `notice_left` are those to be told again, where some could not be.
CREATE TABLE alert (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    condition_id integer NOT NULL REFERENCES named_entry,
    condition_name text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT 'firing' CHECK (state IN ('firing', 'acknowledged', 'ended')),
    severity text NOT NULL,
    value double precision NOT NULL,
    sentence text NOT NULL,
    began_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    ended_at timestamptz,
    acknowledged_by text NOT NULL DEFAULT '',
    acknowledged_at timestamptz,
    note text NOT NULL DEFAULT '',
    notices integer NOT NULL DEFAULT 0,
    notice_due_at timestamptz,
    notice_attempts integer NOT NULL DEFAULT 0,
    notice_left text[] NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX alert_open ON alert (condition_id, subject) WHERE state <> 'ended';
CREATE INDEX alert_ended ON alert (ended_at DESC, id DESC) WHERE state = 'ended';
CREATE INDEX alert_notice_due ON alert (notice_due_at) WHERE notice_due_at IS NOT NULL;

CREATE TABLE alert_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id bigint NOT NULL REFERENCES alert ON DELETE CASCADE,
    at timestamptz NOT NULL,
    event text NOT NULL,
    who text NOT NULL DEFAULT '',
    note text NOT NULL DEFAULT ''
);
CREATE INDEX alert_event_of ON alert_event (alert_id, id);

-- What happened that is an alarm by itself: a rule that failed, a loop. Kept as long as conditions look back.
CREATE TABLE routing_trouble (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('rule_error', 'routing_loop')),
    number integer NOT NULL,
    detail text NOT NULL
);
CREATE INDEX routing_trouble_at ON routing_trouble (kind, at);

-- What went to a destination in five minutes. `tries_failed` counts attempts, `failed` what was given up.
CREATE TABLE destination_figure (
    destination_id integer NOT NULL REFERENCES named_entry,
    began_at timestamptz NOT NULL,
    objects bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    tries bigint NOT NULL DEFAULT 0,
    tries_failed bigint NOT NULL DEFAULT 0,
    latency_median_s double precision,
    latency_p95_s double precision,
    PRIMARY KEY (destination_id, began_at)
);
CREATE INDEX destination_figure_at ON destination_figure (began_at);

-- Up to when the figures are made.
CREATE TABLE destination_figure_mark (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    made_until timestamptz NOT NULL
);
