-- Searching the audit trail by address and by kind of event, and how its checks went; who brought studies in, while the
-- index is made anew.

CREATE INDEX audit_event_address ON audit_event (address, occurred_at DESC, id DESC);
CREATE INDEX audit_event_kind ON audit_event (event, event_type, occurred_at DESC, id DESC);
CREATE INDEX audit_event_failed ON audit_event (occurred_at DESC, id DESC) WHERE outcome > 0;

-- One row for each check of the chain. `seen_at` moves on while it runs; a check that stands still has died.
CREATE TABLE audit_check (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor text NOT NULL,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    total bigint NOT NULL DEFAULT 0,       -- seals when it began, about
    done bigint NOT NULL DEFAULT 0,
    waiting bigint NOT NULL DEFAULT 0,     -- events that had no seal yet
    position bigint NOT NULL DEFAULT 0,    -- the chain's end: a checkpoint to note elsewhere
    chain bytea NOT NULL DEFAULT '',
    kept_since timestamptz,
    finding_count integer NOT NULL DEFAULT 0,
    findings jsonb NOT NULL DEFAULT '[]',  -- the first ones: [[kind, position, event, time, detail], ...]
    problem text NOT NULL DEFAULT ''       -- why it could not be finished
);

-- Objects do not say whose upload they are. `fileroom rebuild` writes it here before it forgets the index, and takes it back.
CREATE TABLE remembered_uploader (
    study_instance_uid text COLLATE "C" PRIMARY KEY,
    brought_by text COLLATE "C" NOT NULL
);
