-- FHIR: tokens that are narrowed to kinds of resources, subscriptions by webhook.

-- In the manner of SMART on FHIR, as patient/ImagingStudy.rs; null: the token is not narrowed to FHIR.
ALTER TABLE api_token ADD COLUMN fhir_scopes text[] COLLATE "C";
-- Whom scopes of the level patient are about.
ALTER TABLE api_token ADD COLUMN fhir_patient bigint REFERENCES registered_patient;

CREATE INDEX registered_patient_changed ON registered_patient (changed_at);

CREATE TABLE fhir_subscription (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The search whose answers are told of, and its kind of resource.
    criteria text NOT NULL,
    kind text COLLATE "C" NOT NULL,
    endpoint text NOT NULL,
    -- Empty: the notice says only that there is something.
    payload text NOT NULL DEFAULT '',
    -- Lines of HTTP headers as JSON, sealed: they hold secrets. Null: none.
    headers bytea,
    header_names text[] NOT NULL DEFAULT '{}',
    reason text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT 'requested' CHECK (state IN ('requested', 'active', 'error', 'off')),
    error text NOT NULL DEFAULT '',
    -- Not told any more from then on.
    ends_at timestamptz,
    -- The root of FHIR as whoever made it knew it: addresses in notices begin with it.
    base text NOT NULL,
    dicomweb text NOT NULL,
    -- In whose name it is looked for and told: an account, a token, or Fileroom itself.
    owner_kind text NOT NULL,
    owner text NOT NULL,
    account_id bigint,
    token_id bigint,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    removed_at timestamptz
);
CREATE INDEX fhir_subscription_live ON fhir_subscription (id) WHERE removed_at IS NULL;

-- One row for each resource that a subscription was told of, or shall be; sent ones stay a day, so that none is told twice.
CREATE TABLE fhir_notice (
    subscription bigint NOT NULL REFERENCES fhir_subscription ON DELETE CASCADE,
    resource text COLLATE "C" NOT NULL,
    -- What of the resource was new: when it changed, or its newest object.
    stamp text COLLATE "C" NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'passed', 'failed')),
    due_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT '',
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subscription, resource)
);
CREATE INDEX fhir_notice_due ON fhir_notice (due_at) WHERE state = 'waiting';

-- Up to where changes of a kind were looked at: a moment, or for studies an object's row.
CREATE TABLE fhir_mark (
    kind text COLLATE "C" PRIMARY KEY,
    reached_at timestamptz NOT NULL DEFAULT now(),
    reached bigint NOT NULL DEFAULT 0
);
