CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE TABLE patient (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Patient ID and issuer; for objects without a Patient ID the study, so that strangers are not thrown together.
    identity text COLLATE "C" NOT NULL UNIQUE,
    patient_name text COLLATE "C",
    patient_name_key text COLLATE "C",
    patient_name_other_keys text COLLATE "C",
    patient_id text COLLATE "C",
    issuer_of_patient_id text COLLATE "C",
    patient_birth_date text COLLATE "C",
    patient_birth_time text COLLATE "C",
    patient_sex text COLLATE "C",
    other_patient_ids text COLLATE "C",
    other_patient_names text COLLATE "C",
    other_patient_names_key text COLLATE "C",
    other_patient_names_other_keys text COLLATE "C",
    ethnic_group text COLLATE "C",
    patient_comments text COLLATE "C",
    responsible_person text COLLATE "C",
    responsible_person_key text COLLATE "C",
    responsible_person_other_keys text COLLATE "C",
    patient_species_description text COLLATE "C",
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE study (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient bigint NOT NULL REFERENCES patient,
    -- The patient as this study's images name it, beside the patient's own row: it is what a study is searched by.
    patient_name text COLLATE "C",
    patient_name_key text COLLATE "C",
    patient_name_other_keys text COLLATE "C",
    patient_id text COLLATE "C",
    issuer_of_patient_id text COLLATE "C",
    patient_birth_date text COLLATE "C",
    patient_birth_time text COLLATE "C",
    patient_sex text COLLATE "C",
    other_patient_ids text COLLATE "C",
    other_patient_names text COLLATE "C",
    other_patient_names_key text COLLATE "C",
    other_patient_names_other_keys text COLLATE "C",
    ethnic_group text COLLATE "C",
    patient_comments text COLLATE "C",
    responsible_person text COLLATE "C",
    responsible_person_key text COLLATE "C",
    responsible_person_other_keys text COLLATE "C",
    patient_species_description text COLLATE "C",
    study_instance_uid text COLLATE "C",
    study_date text COLLATE "C",
    study_time text COLLATE "C",
    accession_number text COLLATE "C",
    study_id text COLLATE "C",
    study_description text COLLATE "C",
    referring_physician_name text COLLATE "C",
    referring_physician_name_key text COLLATE "C",
    referring_physician_name_other_keys text COLLATE "C",
    name_of_physicians_reading_study text COLLATE "C",
    name_of_physicians_reading_study_key text COLLATE "C",
    name_of_physicians_reading_study_other_keys text COLLATE "C",
    physicians_of_record text COLLATE "C",
    physicians_of_record_key text COLLATE "C",
    physicians_of_record_other_keys text COLLATE "C",
    admitting_diagnoses_description text COLLATE "C",
    patient_age text COLLATE "C",
    patient_size text COLLATE "C",
    patient_weight text COLLATE "C",
    occupation text COLLATE "C",
    additional_patient_history text COLLATE "C",
    timezone_offset_from_utc text COLLATE "C",
    issuer_of_accession_number_sequence jsonb,
    procedure_code_sequence jsonb,
    modalities text[] NOT NULL DEFAULT '{}',
    sop_classes text[] NOT NULL DEFAULT '{}',
    -- The folded institution names of its series, for row scopes.
    institutions text[] COLLATE "C" NOT NULL DEFAULT '{}',
    -- Whose first object made the study: account:ID, node:AET@ADDRESS, token:NAME; empty: nobody's in particular.
    brought_by text COLLATE "C" NOT NULL DEFAULT '',
    received_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE series (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study bigint NOT NULL REFERENCES study,
    series_instance_uid text COLLATE "C",
    modality text COLLATE "C",
    series_number bigint,
    series_description text COLLATE "C",
    series_date text COLLATE "C",
    series_time text COLLATE "C",
    body_part_examined text COLLATE "C",
    laterality text COLLATE "C",
    protocol_name text COLLATE "C",
    performed_procedure_step_start_date text COLLATE "C",
    performed_procedure_step_start_time text COLLATE "C",
    performed_procedure_step_id text COLLATE "C",
    performed_procedure_step_description text COLLATE "C",
    performing_physician_name text COLLATE "C",
    performing_physician_name_key text COLLATE "C",
    performing_physician_name_other_keys text COLLATE "C",
    operators_name text COLLATE "C",
    operators_name_key text COLLATE "C",
    operators_name_other_keys text COLLATE "C",
    station_name text COLLATE "C",
    institution_name text COLLATE "C",
    institution_name_key text COLLATE "C",
    institutional_department_name text COLLATE "C",
    manufacturer text COLLATE "C",
    manufacturer_model_name text COLLATE "C",
    device_serial_number text COLLATE "C",
    frame_of_reference_uid text COLLATE "C",
    presentation_intent_type text COLLATE "C",
    patient_position text COLLATE "C",
    request_attributes_sequence jsonb,
    instance_count integer NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now(),
    -- False from the first new instance until the metadata document of the quiet series has been made.
    documented boolean NOT NULL DEFAULT false,
    document_key text COLLATE "C",
    UNIQUE (study, series_instance_uid)
) WITH (fillfactor = 50);

CREATE TABLE instance (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series bigint NOT NULL REFERENCES series,
    sop_instance_uid text COLLATE "C",
    sop_class_uid text COLLATE "C",
    instance_number bigint,
    acquisition_number bigint,
    content_date text COLLATE "C",
    content_time text COLLATE "C",
    acquisition_date text COLLATE "C",
    acquisition_time text COLLATE "C",
    acquisition_date_time text COLLATE "C",
    instance_creation_date text COLLATE "C",
    instance_creation_time text COLLATE "C",
    image_type text COLLATE "C",
    rows bigint,
    columns bigint,
    bits_allocated bigint,
    number_of_frames bigint,
    content_label text COLLATE "C",
    content_description text COLLATE "C",
    content_creator_name text COLLATE "C",
    content_creator_name_key text COLLATE "C",
    content_creator_name_other_keys text COLLATE "C",
    presentation_creation_date text COLLATE "C",
    presentation_creation_time text COLLATE "C",
    completion_flag text COLLATE "C",
    verification_flag text COLLATE "C",
    document_title text COLLATE "C",
    mime_type_of_encapsulated_document text COLLATE "C",
    concept_name_code_sequence jsonb,
    transfer_syntax_uid text COLLATE "C" NOT NULL,
    storage_key text COLLATE "C" NOT NULL,
    file_bytes bigint NOT NULL,
    -- Where the data set begins in the file, and where the value of Pixel Data does (null: there is none).
    dataset_offset integer NOT NULL,
    pixel_offset bigint,
    -- SHA-256 of the data set as received.
    digest bytea NOT NULL,
    -- A second sender of the same object was told that it is safe: the first one's failure must not take it away.
    vouched boolean NOT NULL DEFAULT false,
    received_at timestamptz NOT NULL DEFAULT now(),
    received_by text NOT NULL,
    sender text NOT NULL DEFAULT ''
);

CREATE INDEX patient_patient_id ON patient (patient_id);
CREATE INDEX patient_name_key ON patient (patient_name_key);
CREATE INDEX patient_name_parts ON patient USING gin (patient_name_key gin_trgm_ops);
CREATE INDEX patient_name_other ON patient USING gin (patient_name_other_keys gin_trgm_ops);
CREATE INDEX patient_birth_date ON patient (patient_birth_date);

CREATE UNIQUE INDEX study_study_instance_uid ON study (study_instance_uid);
CREATE INDEX study_patient ON study (patient);
CREATE INDEX study_patient_id ON study (patient_id);
CREATE INDEX study_name_key ON study (patient_name_key);
CREATE INDEX study_name_parts ON study USING gin (patient_name_key gin_trgm_ops);
CREATE INDEX study_name_other ON study USING gin (patient_name_other_keys gin_trgm_ops);
CREATE INDEX study_birth_date ON study (patient_birth_date);
CREATE INDEX study_accession_number ON study (accession_number);
CREATE INDEX study_study_id ON study (study_id);
CREATE INDEX study_newest ON study (study_date DESC NULLS LAST, study_time DESC NULLS LAST, id DESC);
CREATE INDEX study_received ON study (received_at DESC);
CREATE INDEX study_description_parts ON study USING gin (study_description gin_trgm_ops);
CREATE INDEX study_referring_parts ON study USING gin (referring_physician_name_key gin_trgm_ops);
CREATE INDEX study_referring_key ON study (referring_physician_name_key);
CREATE INDEX study_referring_other ON study USING gin (referring_physician_name_other_keys gin_trgm_ops)
    WHERE referring_physician_name_other_keys IS NOT NULL;
CREATE INDEX study_modalities ON study USING gin (modalities);
CREATE INDEX study_institutions ON study USING gin (institutions);
CREATE INDEX study_brought_by ON study (brought_by) WHERE brought_by <> '';

CREATE INDEX series_series_instance_uid ON series (series_instance_uid);
CREATE INDEX series_station_name ON series (left(station_name, 64));
CREATE INDEX series_undocumented ON series (id) WHERE NOT documented;
CREATE INDEX series_document_key ON series (document_key) WHERE document_key IS NOT NULL;

CREATE UNIQUE INDEX instance_sop_instance_uid ON instance (sop_instance_uid);
CREATE INDEX instance_series ON instance (series);
CREATE UNIQUE INDEX instance_storage_key ON instance (storage_key);

-- What came with the UID of an object that is already here but with other content: kept aside, decided by a person.
CREATE TABLE conflict (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sop_instance_uid text COLLATE "C" NOT NULL,
    sop_class_uid text COLLATE "C" NOT NULL,
    transfer_syntax_uid text COLLATE "C" NOT NULL,
    storage_key text COLLATE "C" NOT NULL UNIQUE,
    file_bytes bigint NOT NULL,
    digest bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    received_by text NOT NULL,
    sender text NOT NULL DEFAULT '',
    UNIQUE (sop_instance_uid, digest)
);

-- Objects that were offered and not kept, with the reason that the sender was given.
CREATE TABLE refusal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sop_instance_uid text COLLATE "C" NOT NULL DEFAULT '',
    sop_class_uid text COLLATE "C" NOT NULL DEFAULT '',
    transfer_syntax_uid text COLLATE "C" NOT NULL DEFAULT '',
    status integer NOT NULL,
    reason text NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now(),
    received_by text NOT NULL,
    sender text NOT NULL DEFAULT ''
);
CREATE INDEX refusal_refused_at ON refusal (refused_at);

-- Objects whose rows are gone and whose files must go: written with the deletion, removed after the file.
CREATE TABLE doomed_object (
    storage_key text COLLATE "C" PRIMARY KEY,
    doomed_at timestamptz NOT NULL DEFAULT now()
);

-- Objects that had rows, but whose files were found missing or damaged. Their rows are gone, so that a copy can be sent again.
CREATE TABLE lost_object (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_instance_uid text COLLATE "C" NOT NULL,
    series_instance_uid text COLLATE "C" NOT NULL,
    sop_instance_uid text COLLATE "C" NOT NULL,
    storage_key text COLLATE "C" NOT NULL UNIQUE,
    digest bytea NOT NULL,
    kind text NOT NULL CHECK (kind IN ('missing', 'damaged')),
    reason text NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now()
);

-- The marker of the store that the rows speak of (one row).
CREATE TABLE store_identity (
    marker text NOT NULL
);

-- Corrections: laid over the data set on every way out; the received bytes stay.
CREATE TABLE correction (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_instance_uid text COLLATE "C" NOT NULL,
    series_instance_uid text COLLATE "C",
    sop_instance_uid text COLLATE "C",
    -- Tags with item indexes (from 0, -1 for all items) between them.
    path integer[] NOT NULL,
    vr text NOT NULL,
    -- Values as in DICOM JSON, base64 text for binary VRs. Null: the attribute is taken out.
    value jsonb,
    reason text NOT NULL,
    actor text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    revoked_by text
);
CREATE INDEX correction_study ON correction (study_instance_uid) WHERE revoked_at IS NULL;

-- Storage Commitment requests and their results, until the result has been delivered.
CREATE TABLE commitment (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_uid text COLLATE "C" NOT NULL,
    requester text NOT NULL,
    host text NOT NULL,
    items jsonb NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error text NOT NULL DEFAULT '',
    requested_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX commitment_due ON commitment (next_attempt_at) WHERE state = 'pending';

-- Systems that Fileroom talks to.
CREATE TABLE node (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    aet text NOT NULL UNIQUE,
    host text NOT NULL,
    port integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Callers that were turned away because nobody has approved them.
CREATE TABLE held_caller (
    aet text NOT NULL,
    host text NOT NULL,
    calls integer NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (aet, host)
);

-- One row per path of an import that has been dealt with, so that an interrupted import goes on where it was.
CREATE TABLE import_progress (
    source text NOT NULL,
    path text NOT NULL,
    outcome text NOT NULL,
    done_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, path)
);
