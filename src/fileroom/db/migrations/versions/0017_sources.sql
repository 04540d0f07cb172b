-- Studies that are fetched from other archives: because somebody asked for one (`asked`), or ahead of time (`prefetch`).
-- A study has one open order at a time, so that all who want it wait for the same one. An order that was carried out stays
-- for the budgets of its source and for people. `push_to` are destinations that get the study once it is here.

CREATE TABLE fetch_job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_instance_uid text NOT NULL,
    source text NOT NULL,
    reason text NOT NULL CHECK (reason IN ('asked', 'prefetch')),
    asked_by text NOT NULL,
    rule text NOT NULL DEFAULT '',
    push_to text[] NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    cause text NOT NULL DEFAULT '',
    expected integer NOT NULL DEFAULT 0,
    objects integer NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz NOT NULL DEFAULT '-infinity',
    requested_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz
);
CREATE UNIQUE INDEX fetch_job_open ON fetch_job (study_instance_uid) WHERE state IN ('waiting', 'running');
CREATE INDEX fetch_job_study ON fetch_job (study_instance_uid, id DESC);
CREATE INDEX fetch_job_due ON fetch_job (due_at) WHERE state IN ('waiting', 'running');
CREATE INDEX fetch_job_started ON fetch_job (started_at);
CREATE INDEX fetch_job_to_push ON fetch_job (due_at) WHERE state = 'done' AND push_to <> '{}';

-- What may be a reason to prefetch: a study that began to arrive, an order. Made once for each, worked off once.

CREATE TABLE prefetch_occasion (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('arrival', 'order')),
    key text NOT NULL,
    patient_id text NOT NULL,
    issuer text NOT NULL DEFAULT '',
    study_instance_uid text NOT NULL DEFAULT '',
    modality text NOT NULL DEFAULT '',
    body_part text NOT NULL DEFAULT '',
    description text NOT NULL DEFAULT '',
    scheduled_for timestamptz,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done')),
    outcome text NOT NULL DEFAULT '',
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, key)
);
CREATE INDEX prefetch_occasion_due ON prefetch_occasion (due_at) WHERE state = 'waiting';
CREATE INDEX prefetch_occasion_created ON prefetch_occasion (created_at);

-- Up to which study arrivals were looked at; up to which occasion a rule with a timer has worked.
CREATE TABLE prefetch_mark (
    name text PRIMARY KEY,
    reached bigint NOT NULL,
    reached_at timestamptz NOT NULL DEFAULT now()
);
