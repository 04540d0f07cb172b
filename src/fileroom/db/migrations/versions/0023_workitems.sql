-- Unified Procedure Steps (PS3.4 CC): what is to be done, by whom it is done, and what came of it.

CREATE TABLE workitem (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sop_instance_uid text COLLATE "C" NOT NULL UNIQUE,
    state text NOT NULL CHECK (state IN ('SCHEDULED', 'IN PROGRESS', 'COMPLETED', 'CANCELED')),
    -- The performer's key (0008,1195); never in `attributes`, never shown.
    transaction_uid text COLLATE "C" NOT NULL DEFAULT '',
    -- The data set as it stands, as DICOM JSON.
    attributes jsonb NOT NULL,
    -- Out of `attributes`, for searching.
    label text NOT NULL DEFAULT '',
    worklist_label text NOT NULL DEFAULT '',
    priority text NOT NULL DEFAULT '',
    readiness text NOT NULL DEFAULT '',
    patient_id text COLLATE "C" NOT NULL DEFAULT '',
    patient_name text NOT NULL DEFAULT '',
    -- Scheduled Procedure Step Start DateTime as it was said, and its day.
    start_moment text COLLATE "C" NOT NULL DEFAULT '',
    start_day text COLLATE "C" NOT NULL DEFAULT '',
    study_uids text[] COLLATE "C" NOT NULL DEFAULT '{}',
    -- Whose own it is (core.access, Access.uploader), and the names of who made it and who performs it.
    creator text COLLATE "C" NOT NULL DEFAULT '',
    created_by text NOT NULL,
    performer text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE INDEX workitem_start ON workitem (start_moment, id);
CREATE INDEX workitem_state ON workitem (state, start_moment);
CREATE INDEX workitem_patient ON workitem (patient_id) WHERE patient_id <> '';
CREATE INDEX workitem_studies ON workitem USING gin (study_uids);
CREATE INDEX workitem_ended ON workitem (ended_at) WHERE ended_at IS NOT NULL;

-- UIDs of workitems that were removed long after their end: 410, and never given again.
CREATE TABLE workitem_gone (
    sop_instance_uid text COLLATE "C" PRIMARY KEY,
    gone_at timestamptz NOT NULL DEFAULT now()
);

-- Who hears of a workitem (PS3.4 CC.2.3): a node by N-EVENT-REPORT, a program by its WebSocket.
CREATE TABLE workitem_subscription (
    workitem bigint NOT NULL REFERENCES workitem ON DELETE CASCADE,
    aet text COLLATE "C" NOT NULL,
    deletion_lock boolean NOT NULL,
    PRIMARY KEY (workitem, aet)
);
CREATE INDEX workitem_subscription_aet ON workitem_subscription (aet);

-- Who hears of those to come too: of all, or of those that fit `keys`.
CREATE TABLE workitem_watch (
    aet text COLLATE "C" NOT NULL,
    is_filtered boolean NOT NULL,
    keys jsonb NOT NULL DEFAULT '[]',
    deletion_lock boolean NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (aet, is_filtered)
);

-- An AE title that is subscribed: how it is reached, whose it is, and which connection speaks for it now.
CREATE TABLE workitem_subscriber (
    aet text COLLATE "C" PRIMARY KEY,
    via text NOT NULL CHECK (via IN ('dimse', 'web')),
    owner text COLLATE "C" NOT NULL,
    channel text NOT NULL DEFAULT '',
    first_at timestamptz NOT NULL DEFAULT now(),
    -- When the last event was taken; when to try again, and how often that failed.
    told_at timestamptz,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT ''
);

-- What happened, as it is told: `information` is the event's data set as DICOM JSON.
CREATE TABLE workitem_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Null: of Fileroom itself (SCP Status Change).
    workitem bigint REFERENCES workitem ON DELETE CASCADE,
    sop_instance_uid text COLLATE "C" NOT NULL,
    event_type integer NOT NULL,
    information jsonb NOT NULL,
    caused_by text NOT NULL DEFAULT '',
    happened_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX workitem_event_workitem ON workitem_event (workitem, id);
CREATE INDEX workitem_event_happened ON workitem_event (happened_at);

-- The outbox: which event is still to be told to whom. A row goes when it was taken.
CREATE TABLE workitem_notice (
    event bigint NOT NULL REFERENCES workitem_event ON DELETE CASCADE,
    aet text COLLATE "C" NOT NULL,
    PRIMARY KEY (aet, event)
);
CREATE INDEX workitem_notice_event ON workitem_notice (event);
