-- Accounts that come from a directory (LDAP) or from an OpenID provider.

ALTER TABLE account
    ADD COLUMN source text NOT NULL DEFAULT 'local' CHECK (source IN ('local', 'ldap', 'openid')),
    -- Who it is there, whatever the login is by then: objectGUID, entryUUID or the DN; issuer and `sub`.
    ADD COLUMN subject text,
    ADD CHECK ((source = 'local') = (subject IS NULL)),
    ADD CHECK (source = 'local' OR password_hash IS NULL);
CREATE UNIQUE INDEX account_subject ON account (source, subject);

-- What the OpenID provider said at this login: it is shown to it at the logout, and gone with the session.
ALTER TABLE session ADD COLUMN id_token text;
