-- HL7 messages in and out (MLLP).

CREATE TABLE hl7_message (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed text COLLATE "C" NOT NULL,
    -- MSH-3|MSH-4 as the sender writes them, and where it called from.
    sender text COLLATE "C" NOT NULL DEFAULT '',
    address text NOT NULL DEFAULT '',
    control_id text COLLATE "C" NOT NULL DEFAULT '',
    kind text COLLATE "C" NOT NULL DEFAULT '',
    -- As received, without the frame.
    raw bytea NOT NULL,
    digest bytea NOT NULL,
    charset text NOT NULL DEFAULT '',
    -- applied: its effects stand. ignored: it asks for nothing here. failed: it can be mended and applied again.
    -- rejected: it is no message that is taken. duplicate: it was applied before, under `first`.
    state text NOT NULL CHECK (state IN ('applied', 'ignored', 'failed', 'rejected', 'duplicate')),
    -- AA, AE, AR, CA, CE, CR: what was answered; empty where the sender wanted no answer.
    answered text NOT NULL,
    answer bytea NOT NULL,
    reason text NOT NULL DEFAULT '',
    -- [{"words", "subject", "number"}]
    effects jsonb NOT NULL DEFAULT '[]',
    patient_ids text[] COLLATE "C" NOT NULL DEFAULT '{}',
    accession_numbers text[] COLLATE "C" NOT NULL DEFAULT '{}',
    order_numbers text[] COLLATE "C" NOT NULL DEFAULT '{}',
    -- Each word once, case folded, for the search by any word or its beginning.
    words tsvector NOT NULL DEFAULT '',
    -- The message that this one mends or repeats, and the copy that mended this one.
    first bigint REFERENCES hl7_message ON DELETE SET NULL,
    mended_by bigint REFERENCES hl7_message ON DELETE SET NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    received_by text NOT NULL DEFAULT '',
    milliseconds real NOT NULL DEFAULT 0
);
-- The newest come first in the order of their ids, which are taken when a message arrives.
CREATE INDEX hl7_message_control ON hl7_message (control_id, id);
CREATE INDEX hl7_message_first ON hl7_message (first) WHERE first IS NOT NULL;
CREATE INDEX hl7_message_mended ON hl7_message (mended_by) WHERE mended_by IS NOT NULL;
CREATE INDEX hl7_message_received ON hl7_message (received_at);
CREATE INDEX hl7_message_troubled ON hl7_message (id DESC) WHERE state IN ('failed', 'rejected') AND mended_by IS NULL;
-- One index for all four: a question may name any of them, and a message is added at the cost of one.
CREATE INDEX hl7_message_found_by ON hl7_message USING gin (patient_ids, accession_numbers, order_numbers, words);

-- What is to be sent. Of one feed one message goes at a time, in the order of their ids.
CREATE TABLE hl7_outgoing (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed text COLLATE "C" NOT NULL,
    control_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    raw bytea NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'dead', 'cancelled')),
    attempts integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT now(),
    answer bytea,
    reason text NOT NULL DEFAULT '',
    -- What it tells of, so that the same is not told twice.
    cause text COLLATE "C" NOT NULL DEFAULT '',
    patient_ids text[] COLLATE "C" NOT NULL DEFAULT '{}',
    accession_numbers text[] COLLATE "C" NOT NULL DEFAULT '{}',
    made_by text NOT NULL DEFAULT '',
    made_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz
);
CREATE INDEX hl7_outgoing_waiting ON hl7_outgoing (feed, id) WHERE state = 'waiting';
CREATE UNIQUE INDEX hl7_outgoing_cause ON hl7_outgoing (feed, cause) WHERE cause <> '';

-- When a feed was last heard of, for the alarm on silence.
CREATE TABLE hl7_feed_state (
    feed text COLLATE "C" PRIMARY KEY,
    last_at timestamptz NOT NULL DEFAULT now()
);
