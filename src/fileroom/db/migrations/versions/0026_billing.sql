-- What was told of orders to who bills, and of numbers of patients to who keeps them.

-- A feed out that bills, and up to when its orders were looked at.
CREATE TABLE charge_feed (
    feed text COLLATE "C" PRIMARY KEY,
    reached timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE order_charge (
    imaging_order bigint NOT NULL REFERENCES imaging_order ON DELETE CASCADE,
    feed text COLLATE "C" NOT NULL,
    -- before: it was due before the feed billed, nothing was told. credited: charged, and taken back.
    state text NOT NULL CHECK (state IN ('before', 'charged', 'credited')),
    -- How many charges there were.
    number integer NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (imaging_order, feed)
);

-- Accounts (a patient's visit; 0: none) that a feed was told of, and what was said of them.
CREATE TABLE charge_account (
    feed text COLLATE "C" NOT NULL,
    patient bigint NOT NULL,
    visit bigint NOT NULL DEFAULT 0,
    digest text NOT NULL,
    number integer NOT NULL DEFAULT 1,
    PRIMARY KEY (feed, patient, visit)
);

-- Feeds out that are told when somebody's numbers change. Without one nothing is noted.
CREATE TABLE identifier_feed (
    feed text COLLATE "C" PRIMARY KEY
);

-- Patients whose numbers have changed. Each change has a row of its own, so that none waits for another.
CREATE TABLE identifier_note (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient bigint NOT NULL
);

-- What a feed was told last of a patient's numbers.
CREATE TABLE identifiers_told (
    feed text COLLATE "C" NOT NULL,
    patient bigint NOT NULL,
    digest text NOT NULL,
    number integer NOT NULL DEFAULT 1,
    PRIMARY KEY (feed, patient)
);

CREATE FUNCTION note_identifier() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM identifier_feed) THEN
        INSERT INTO identifier_note (patient) VALUES (NEW.patient);
        IF TG_OP = 'UPDATE' AND OLD.patient <> NEW.patient THEN
            INSERT INTO identifier_note (patient) VALUES (OLD.patient);
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER patient_identifier_made AFTER INSERT ON patient_identifier FOR EACH ROW EXECUTE FUNCTION note_identifier();
CREATE TRIGGER patient_identifier_changed AFTER UPDATE OF patient, retired, value, authority ON patient_identifier
    FOR EACH ROW EXECUTE FUNCTION note_identifier();
CREATE FUNCTION note_link() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM identifier_feed) THEN
        INSERT INTO identifier_note (patient)
            SELECT unnest(CASE WHEN TG_OP = 'DELETE' THEN ARRAY[OLD.one, OLD.other] ELSE ARRAY[NEW.one, NEW.other] END);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER patient_link_changed AFTER INSERT OR DELETE ON patient_link FOR EACH ROW EXECUTE FUNCTION note_link();
