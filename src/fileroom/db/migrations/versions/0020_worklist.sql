-- Patients, visits and orders as the RIS tells them; what modalities perform; which images meet which order.
-- Texts are in DICOM's forms: PN, DA, TM (as the index keeps them). Times of the hospital's clock have no zone.

CREATE TABLE registered_patient (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient_name text COLLATE "C" NOT NULL DEFAULT '',
    patient_name_key text COLLATE "C",
    patient_name_other_keys text COLLATE "C",
    birth_date text COLLATE "C" NOT NULL DEFAULT '',
    sex text COLLATE "C" NOT NULL DEFAULT '',
    other_names text[] COLLATE "C" NOT NULL DEFAULT '{}',
    -- By DICOM keyword.
    details jsonb NOT NULL DEFAULT '{}',
    -- Null: it stands for itself. Else the one that it became part of.
    merged_into bigint REFERENCES registered_patient,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL
);
CREATE INDEX registered_patient_name ON registered_patient (patient_name_key);
CREATE INDEX registered_patient_name_parts ON registered_patient USING gin (patient_name_key gin_trgm_ops);
CREATE INDEX registered_patient_birth ON registered_patient (birth_date);
CREATE INDEX registered_patient_merged ON registered_patient (merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE patient_identifier (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient bigint NOT NULL REFERENCES registered_patient ON DELETE CASCADE,
    authority text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL DEFAULT 'MR',
    -- The record that it was given to; a merge moves it to another, and it knows the way back.
    home bigint NOT NULL REFERENCES registered_patient,
    -- The one that images carry as Patient ID: one of each patient that stands for itself.
    is_first boolean NOT NULL DEFAULT false,
    -- Not to be used any more: by a merge or a change of the number. What comes under it is shown under the first one.
    retired boolean NOT NULL DEFAULT false,
    UNIQUE (authority, value, kind)
);
CREATE INDEX patient_identifier_patient ON patient_identifier (patient);
CREATE INDEX patient_identifier_value ON patient_identifier (value);

-- Two records of one person that stay two.
CREATE TABLE patient_link (
    one bigint NOT NULL REFERENCES registered_patient ON DELETE CASCADE,
    other bigint NOT NULL REFERENCES registered_patient ON DELETE CASCADE,
    linked_at timestamptz NOT NULL DEFAULT now(),
    linked_by text NOT NULL,
    PRIMARY KEY (one, other),
    CHECK (one < other)
);

-- What a merge has moved, so that it can be taken back.
CREATE TABLE patient_merge (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    survivor bigint NOT NULL REFERENCES registered_patient,
    retired bigint NOT NULL REFERENCES registered_patient,
    identifiers bigint[] NOT NULL DEFAULT '{}',
    visits bigint[] NOT NULL DEFAULT '{}',
    orders bigint[] NOT NULL DEFAULT '{}',
    -- Which of the identifiers was the first of the retired one.
    first_identifier bigint,
    -- Which of them the merge has retired: those of the authority of the first one.
    retired_identifiers bigint[] NOT NULL DEFAULT '{}',
    message bigint,
    merged_at timestamptz NOT NULL DEFAULT now(),
    merged_by text NOT NULL,
    revoked_at timestamptz,
    revoked_by text
);
CREATE INDEX patient_merge_retired ON patient_merge (retired) WHERE revoked_at IS NULL;
CREATE INDEX patient_merge_survivor ON patient_merge (survivor) WHERE revoked_at IS NULL;

-- Corrections of images that say what the RIS says of their patient.
CREATE TABLE patient_correction (
    correction bigint PRIMARY KEY REFERENCES correction ON DELETE CASCADE,
    study_instance_uid text COLLATE "C" NOT NULL,
    -- Whose facts these are. (Neither this nor the merge is ever deleted: no reference that each row would be checked by.)
    patient bigint NOT NULL,
    -- The merge that made the study that patient's; null: it was that patient's before.
    merge bigint,
    -- What the study's columns held as received, where that is known: no other correction was laid over them.
    received jsonb
);
CREATE INDEX patient_correction_study ON patient_correction (study_instance_uid);
CREATE INDEX patient_correction_merge ON patient_correction (merge) WHERE merge IS NOT NULL;
CREATE INDEX patient_correction_patient ON patient_correction (patient);

-- Series before their study, studies by their UIDs, as receiving takes them: so nobody waits in a circle.
CREATE FUNCTION lock_studies(uids text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    the_study bigint;
BEGIN
    FOR the_study IN SELECT id FROM study WHERE study_instance_uid = ANY(uids) ORDER BY study_instance_uid LOOP
        PERFORM 1 FROM series WHERE study = the_study ORDER BY series_instance_uid FOR NO KEY UPDATE;
        PERFORM 1 FROM study WHERE id = the_study FOR NO KEY UPDATE;
    END LOOP;
END $$;

CREATE TABLE visit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient bigint NOT NULL REFERENCES registered_patient,
    authority text COLLATE "C" NOT NULL DEFAULT '',
    number text COLLATE "C" NOT NULL,
    state text NOT NULL DEFAULT 'scheduled' CHECK (state IN ('scheduled', 'admitted', 'discharged', 'cancelled')),
    patient_class text NOT NULL DEFAULT '',
    location text NOT NULL DEFAULT '',
    institution text NOT NULL DEFAULT '',
    attending text NOT NULL DEFAULT '',
    referring text NOT NULL DEFAULT '',
    admitted_at text COLLATE "C" NOT NULL DEFAULT '',
    discharged_at text COLLATE "C" NOT NULL DEFAULT '',
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    UNIQUE (authority, number)
);
CREATE INDEX visit_patient ON visit (patient);

-- An order with its one requested procedure.
CREATE TABLE imaging_order (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Null: the order came before its patient.
    patient bigint REFERENCES registered_patient,
    visit bigint REFERENCES visit,
    placer_number text COLLATE "C" NOT NULL DEFAULT '',
    placer_authority text COLLATE "C" NOT NULL DEFAULT '',
    filler_number text COLLATE "C" NOT NULL DEFAULT '',
    filler_authority text COLLATE "C" NOT NULL DEFAULT '',
    accession_number text COLLATE "C" NOT NULL DEFAULT '',
    accession_authority text COLLATE "C" NOT NULL DEFAULT '',
    procedure_id text COLLATE "C" NOT NULL DEFAULT '',
    study_instance_uid text COLLATE "C" NOT NULL,
    procedure_code text COLLATE "C" NOT NULL DEFAULT '',
    procedure_scheme text COLLATE "C" NOT NULL DEFAULT '',
    procedure_meaning text NOT NULL DEFAULT '',
    priority text NOT NULL DEFAULT 'ROUTINE',
    state text NOT NULL DEFAULT 'scheduled'
        CHECK (state IN ('scheduled', 'arrived', 'in_progress', 'completed', 'cancelled', 'discontinued')),
    ordering_physician text NOT NULL DEFAULT '',
    referring_physician text NOT NULL DEFAULT '',
    referring_physician_key text COLLATE "C",
    reason text NOT NULL DEFAULT '',
    clinical_information text NOT NULL DEFAULT '',
    department text NOT NULL DEFAULT '',
    institution text NOT NULL DEFAULT '',
    body_part text COLLATE "C" NOT NULL DEFAULT '',
    laterality text COLLATE "C" NOT NULL DEFAULT '',
    transport text NOT NULL DEFAULT '',
    danger text NOT NULL DEFAULT '',
    details jsonb NOT NULL DEFAULT '{}',
    -- False: only its cancellation came so far, or a change of its state.
    placed boolean NOT NULL DEFAULT true,
    version integer NOT NULL DEFAULT 1,
    ordered_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL
);
CREATE UNIQUE INDEX imaging_order_placer ON imaging_order (placer_authority, placer_number, procedure_id)
    WHERE placer_number <> '';
CREATE INDEX imaging_order_filler ON imaging_order (filler_number, filler_authority) WHERE filler_number <> '';
CREATE INDEX imaging_order_accession ON imaging_order (accession_number) WHERE accession_number <> '';
CREATE INDEX imaging_order_study ON imaging_order (study_instance_uid);
CREATE INDEX imaging_order_patient ON imaging_order (patient);
CREATE INDEX imaging_order_visit ON imaging_order (visit) WHERE visit IS NOT NULL;
CREATE INDEX imaging_order_newest ON imaging_order (ordered_at);
CREATE INDEX imaging_order_changed ON imaging_order (changed_at);

CREATE TABLE scheduled_step (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    imaging_order bigint NOT NULL REFERENCES imaging_order ON DELETE CASCADE,
    step_id text COLLATE "C" NOT NULL,
    modality text COLLATE "C" NOT NULL DEFAULT '',
    station_aets text[] COLLATE "C" NOT NULL DEFAULT '{}',
    station_name text COLLATE "C" NOT NULL DEFAULT '',
    location text COLLATE "C" NOT NULL DEFAULT '',
    start_date text COLLATE "C" NOT NULL DEFAULT '',
    start_time text COLLATE "C" NOT NULL DEFAULT '',
    -- How long it takes; 0: not known.
    minutes integer NOT NULL DEFAULT 0 CHECK (minutes BETWEEN 0 AND 1440),
    performing_physician text NOT NULL DEFAULT '',
    performing_physician_key text COLLATE "C",
    description text NOT NULL DEFAULT '',
    -- [{"value", "scheme", "meaning"}]
    protocol_codes jsonb NOT NULL DEFAULT '[]',
    pre_medication text NOT NULL DEFAULT '',
    contrast_agent text NOT NULL DEFAULT '',
    comments text NOT NULL DEFAULT '',
    -- On the worklist while it is scheduled or arrived, and, where the view wants it, in progress.
    state text NOT NULL DEFAULT 'scheduled'
        CHECK (state IN ('scheduled', 'arrived', 'in_progress', 'completed', 'cancelled', 'discontinued')),
    UNIQUE (imaging_order, step_id)
);
CREATE INDEX scheduled_step_open ON scheduled_step (start_date, start_time, modality)
    WHERE state IN ('scheduled', 'arrived', 'in_progress');
CREATE INDEX scheduled_step_stations ON scheduled_step USING gin (station_aets)
    WHERE state IN ('scheduled', 'arrived', 'in_progress');
CREATE INDEX scheduled_step_id ON scheduled_step (step_id);

-- What has become of an order, by which message or person.
CREATE TABLE order_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    imaging_order bigint NOT NULL REFERENCES imaging_order ON DELETE CASCADE,
    -- The row in the inbox.
    message bigint,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    -- [[sentence, {value by name}]]: pages say it in the reader's language.
    sentences jsonb NOT NULL
);
CREATE INDEX order_change_order ON order_change (imaging_order, id);
CREATE INDEX order_change_message ON order_change (message) WHERE message IS NOT NULL;

-- What a procedure code means for modalities, rooms and protocols.
CREATE TABLE procedure_code (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text COLLATE "C" NOT NULL,
    scheme text COLLATE "C" NOT NULL DEFAULT '',
    meaning text NOT NULL DEFAULT '',
    modality text COLLATE "C" NOT NULL DEFAULT '',
    body_part text COLLATE "C" NOT NULL DEFAULT '',
    laterality text COLLATE "C" NOT NULL DEFAULT '',
    station_aets text[] COLLATE "C" NOT NULL DEFAULT '{}',
    location text NOT NULL DEFAULT '',
    minutes integer NOT NULL DEFAULT 0 CHECK (minutes BETWEEN 0 AND 1440),
    protocol_codes jsonb NOT NULL DEFAULT '[]',
    version integer NOT NULL DEFAULT 1,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    UNIQUE (scheme, code)
);

-- Modality performed procedure steps (PS3.3 C.4.13 to C.4.16).
CREATE TABLE performed_step (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sop_instance_uid text COLLATE "C" NOT NULL UNIQUE,
    state text NOT NULL CHECK (state IN ('in_progress', 'completed', 'discontinued')),
    calling_aet text COLLATE "C" NOT NULL,
    -- Null: unscheduled, or for an order that is not known (yet).
    imaging_order bigint REFERENCES imaging_order,
    scheduled_step bigint REFERENCES scheduled_step ON DELETE SET NULL,
    -- All scheduled steps that it is for; `scheduled_step` is the first.
    steps bigint[] NOT NULL DEFAULT '{}',
    study_instance_uid text COLLATE "C" NOT NULL DEFAULT '',
    accession_number text COLLATE "C" NOT NULL DEFAULT '',
    patient_id text COLLATE "C" NOT NULL DEFAULT '',
    -- The data set as it stands, as DICOM JSON.
    attributes jsonb NOT NULL,
    images integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE INDEX performed_step_order ON performed_step (imaging_order);
CREATE INDEX performed_step_study ON performed_step (study_instance_uid);
CREATE INDEX performed_step_accession ON performed_step (accession_number) WHERE accession_number <> '';
CREATE INDEX performed_step_newest ON performed_step (started_at DESC);

-- Questions for the worklist: why is a patient not on it?
CREATE TABLE worklist_query (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    calling_aet text COLLATE "C" NOT NULL,
    address text NOT NULL DEFAULT '',
    -- The matching keys as text, by keyword.
    keys jsonb NOT NULL,
    -- The data set as it came, for asking again.
    identifier bytea NOT NULL,
    transfer_syntax text NOT NULL,
    answers integer NOT NULL,
    status integer NOT NULL,
    milliseconds real NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX worklist_query_caller ON worklist_query (calling_aet, asked_at DESC);
CREATE INDEX worklist_query_asked ON worklist_query (asked_at);

-- Which study met which order, how, and what was laid over it for that.
CREATE TABLE study_match (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_instance_uid text COLLATE "C" NOT NULL,
    imaging_order bigint NOT NULL REFERENCES imaging_order,
    -- study_uid, performed_step, step, accession, patient_time or person
    how text NOT NULL,
    score integer NOT NULL,
    corrections bigint[] NOT NULL DEFAULT '{}',
    matched_at timestamptz NOT NULL DEFAULT now(),
    matched_by text NOT NULL,
    undone_at timestamptz,
    undone_by text
);
CREATE UNIQUE INDEX study_match_study ON study_match (study_instance_uid) WHERE undone_at IS NULL;
CREATE INDEX study_match_order ON study_match (imaging_order) WHERE undone_at IS NULL;
CREATE INDEX study_match_undone ON study_match (study_instance_uid) WHERE undone_at IS NOT NULL;
CREATE INDEX study_match_newest ON study_match (matched_at DESC);

-- Studies that met no order, or met one that says otherwise. One open row a study.
CREATE TABLE study_exception (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_instance_uid text COLLATE "C" NOT NULL,
    -- [{"code", "values"}]
    reasons jsonb NOT NULL,
    -- [{"order", "score"}], the best first, as they were when it was last looked at.
    candidates jsonb NOT NULL DEFAULT '[]',
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'fixed', 'dismissed')),
    found_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    ended_by text NOT NULL DEFAULT '',
    note text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX study_exception_open ON study_exception (study_instance_uid) WHERE state = 'open';
CREATE INDEX study_exception_newest ON study_exception (found_at DESC) WHERE state = 'open';
CREATE INDEX study_exception_study ON study_exception (study_instance_uid, id);

-- Studies of which images have come or orders have changed since they were last matched.
CREATE TABLE unmatched_study (
    study_instance_uid text COLLATE "C" PRIMARY KEY,
    -- Null: it was looked at. The row stays until the mark has passed its series.
    due_at timestamptz DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    -- How many series it had when it was noted.
    series integer NOT NULL DEFAULT 0,
    looked_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX unmatched_study_due ON unmatched_study (due_at);

-- How far the series that came have been noted. `ahead` becomes `reached` when everything below it is sure to be visible.
CREATE TABLE matching_mark (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    reached bigint NOT NULL,
    ahead bigint NOT NULL,
    ahead_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO matching_mark (reached, ahead) SELECT coalesce(max(id), 0), coalesce(max(id), 0) FROM series;

-- What may change which study meets which order. Each change has a row of its own, so that none waits for another.
CREATE TABLE matching_note (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    imaging_order bigint,
    study_instance_uid text
);
CREATE FUNCTION note_order_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO matching_note (imaging_order) SELECT DISTINCT id FROM fresh;
    RETURN NULL;
END $$;
CREATE TRIGGER imaging_order_made AFTER INSERT ON imaging_order REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION note_order_change();
CREATE TRIGGER imaging_order_changed AFTER UPDATE ON imaging_order REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION note_order_change();
CREATE FUNCTION note_performed_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO matching_note (imaging_order, study_instance_uid) VALUES (NEW.imaging_order, NEW.study_instance_uid);
    RETURN NULL;
END $$;
CREATE TRIGGER performed_step_linked AFTER INSERT OR UPDATE OF imaging_order, study_instance_uid ON performed_step
    FOR EACH ROW WHEN (NEW.imaging_order IS NOT NULL AND NEW.study_instance_uid <> '') EXECUTE FUNCTION note_performed_step();

-- Studies whose corrections have changed: what was delivered of them before is to be sent again.
CREATE TABLE corrected_study (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_instance_uid text COLLATE "C" NOT NULL,
    corrected_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION note_corrected_study() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO corrected_study (study_instance_uid) SELECT DISTINCT study_instance_uid FROM fresh;
    RETURN NULL;
END $$;
CREATE TRIGGER correction_made AFTER INSERT ON correction REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION note_corrected_study();
CREATE TRIGGER correction_revoked AFTER UPDATE ON correction REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION note_corrected_study();
