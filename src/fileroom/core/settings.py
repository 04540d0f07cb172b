"""The one table of settings: name, default, unit and help. Documentation and command help are made from it.

A value comes from, strongest first: a command line flag, the environment (`FILEROOM_*`), `fileroom.toml` in the current
folder, the database for a managed setting, the default.

A new setting is read at the start unless it says `json_schema_extra=managed(Group.X, "unit")`: then administrators change it
while Fileroom runs. Mark it so if everything reads it as `archive.settings.name` at the time of use, and add its effect to
tests/unit/app/test_settings_take_effect.py. Secrets are SecretStr and are never managed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from fileroom.core.errors import InvalidRequestError
from fileroom.core.identifiers import AETitle
from fileroom.core.logs import LOG_LEVELS
from fileroom.core.networks import networks_of
from fileroom.core.setting_marks import Group, managed

Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """Everything that can be set from outside. Secrets are masked in `repr`."""

    model_config = SettingsConfigDict(env_prefix="FILEROOM_", toml_file="fileroom.toml", extra="forbid", frozen=True)

    data: Path = Field(Path("data"), description="Folder of the embedded database and of the file store.")
    host: str = Field("127.0.0.1", description="Address that the DICOM, web and HL7 ports listen on.")
    aet: str = Field("FILEROOM", description="AE title that peers call.")
    dicom_port: Port = Field(11112, description="DICOM port.")
    http_port: Port = Field(8080, description="Port of the web pages, DICOMweb and the administration API.")
    http_host: str = Field(
        "",
        description="Address of the web port where it differs from host. Beyond loopback everybody must log in.",
    )
    dicom_tls_port: int = Field(
        0, ge=0, le=65535, description="Port for DICOM over TLS, usually 2762 (docs/operating.md). 0: none."
    )
    dicom_tls_clients: Literal["required", "optional", "off"] = Field(
        "required",
        description="Whether callers of that port must show a certificate from somebody we trust, may, or are not asked.",
    )
    http_certificate: str = Field(
        "",
        description="PEM file of the web port's certificate with its chain, read again when it changes. Empty: the one that is "
        "active under Certificates.",
    )
    http_key: str = Field("", description="PEM file of that certificate's key. Empty: it is in the same file.")
    web_plain_http: Literal["loopback", "everywhere", "never"] = Field(
        "loopback",
        description="Who is served without TLS on the web port: this machine (and trusted proxies for HTTPS), everybody, "
        "nobody. Others are led to https.",
    )
    web_hsts_days: int = Field(
        30,
        ge=0,
        le=730,
        description="Days for which browsers shall use HTTPS alone after a visit by HTTPS. 0: not said.",
    )
    hl7_port: Port = Field(2575, description="MLLP port for HL7.")
    database_url: SecretStr = Field(
        SecretStr(""),
        description="PostgreSQL address (postgresql://...). Empty: an embedded PostgreSQL in the data folder.",
    )
    storage_url: str = Field(
        "", description="Object store: s3://bucket/prefix, gs://, az://, file:///path. Empty: files in the data folder."
    )
    workers: int = Field(
        0, ge=0, le=64, description="Association workers (processes). 0: as many as there are processor cores."
    )
    web_workers: int = Field(
        0, ge=0, le=64, description="Web workers (processes). 0: as many as there are processor cores."
    )
    delivery_workers: int = Field(
        1, ge=0, le=16, description="Delivery workers (processes). 0: nothing is delivered from this machine."
    )
    hl7_workers: int = Field(
        1, ge=0, le=16, description="HL7 workers (processes). 0: no HL7 message is taken or sent from this machine."
    )
    admin_password: SecretStr = Field(
        SecretStr(""),
        description="First start only: password of the first account 'admin'. Empty: made and printed once.",
    )
    web_login: Literal["beyond-loopback", "always"] = Field(
        "always",
        description="Who must log in to the web port: always, or beyond-loopback: everybody but this machine's own users, "
        "as long as the port listens on a loopback address only.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of proxies (10.0.0.5, 10.1.0.0/16) that are believed about client, scheme and name: "
        "X-Forwarded-For, -Proto, -Host and -Port, or Forwarded. Empty: none.",
    )
    trusted_hosts: str = Field(
        "",
        description="Names (pacs.hospital.example) that the web port answers to, by commas, besides localhost. Empty: "
        "any, where everybody logs in.",
    )
    password_chars_min: int = Field(
        12,
        ge=8,
        le=64,
        description="Shortest password (characters) of an account.",
        json_schema_extra=managed(
            Group.PEOPLE, "characters", affects="New passwords only; those there are stay good.", security=True
        ),
    )
    session_idle_minutes: int = Field(
        60,
        ge=1,
        le=1440,
        description="Minutes without a request after which a session ends.",
        json_schema_extra=managed(Group.PEOPLE, "minutes", affects="Sessions that are open, too.", security=True),
    )
    session_hours: int = Field(
        12,
        ge=1,
        le=168,
        description="Hours after which a session ends in any case.",
        json_schema_extra=managed(Group.PEOPLE, "hours", affects="Sessions that begin from now on.", security=True),
    )
    ldap_url: str = Field(
        "",
        description="Directory that people log in by: ldaps://HOST or ldap://HOST (StartTLS); several, by blanks, are tried in "
        "this order. Empty: none (docs/people.md).",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    ldap_base: str = Field(
        "",
        description="Where people and groups are looked for, for example dc=hospital,dc=example.",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    ldap_bind_dn: str = Field(
        "",
        description="What Fileroom itself logs in to the directory as. Empty: anonymous.",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    ldap_bind_password: SecretStr = Field(SecretStr(""), description="The password of that.")
    ldap_user_filter: str = Field(
        "(&(objectClass=person)(|(uid={login})(sAMAccountName={login})(userPrincipalName={login})))",
        description="How a person is found by the login that was typed.",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    ldap_group_filter: str = Field(
        "(|(member={dn})(uniqueMember={dn})(memberUid={login}))",
        description="How the groups of a person are found.",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    ldap_nested_groups: Literal["no", "steps", "rule"] = Field(
        "steps",
        description="Groups in groups: not asked for; step by step, which every directory can; or by the matching rule of "
        "Active Directory in one question.",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    ldap_roles: str = Field(
        "",
        description='Which group gives which role, as JSON, the first that fits: {"PACS Admins": "administrator", "CT Desk": '
        '{"role": "technologist", "modalities": ["CT"]}}.',
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    ldap_ca: str = Field(
        "",
        description="PEM file of the certificates that the directory is checked by. Empty: the system's.",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    ldap_plain: bool = Field(
        False,
        description="Take ldap:// without TLS, for tests on one machine: passwords cross the network in the clear.",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    oidc_issuer: str = Field(
        "",
        description="OpenID provider that people log in by, as it names itself: https://... Empty: none (docs/people.md).",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    oidc_client_id: str = Field(
        "", description="What Fileroom is called there.", json_schema_extra=managed(Group.SIGN_IN, gives_rights=True)
    )
    oidc_client_secret: SecretStr = Field(
        SecretStr(""), description="The secret of that. Empty: a public client, with PKCE alone."
    )
    oidc_name: str = Field(
        "OpenID",
        description="What people call the provider: 'Log in with NAME' on the page.",
        json_schema_extra=managed(Group.SIGN_IN, security=True),
    )
    oidc_scope: str = Field(
        "openid profile email",
        description="What is asked of the provider.",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    oidc_claim: str = Field(
        "groups",
        description="Claim that holds a person's groups or roles; realm_access.roles is one within another.",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    oidc_login_claim: str = Field(
        "preferred_username",
        description="Claim that becomes the login of the account.",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    oidc_roles: str = Field(
        "",
        description="Which value of the claim gives which role, as ldap_roles does it.",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    oidc_ca: str = Field(
        "",
        description="PEM file of the certificates that the provider is checked by. Empty: the system's.",
        json_schema_extra=managed(Group.SIGN_IN, gives_rights=True),
    )
    accept_unknown_sop_classes: bool = Field(
        True,
        description="Store objects of unknown and private SOP classes too, as they came.",
        json_schema_extra=managed(Group.DICOM, affects="Associations that begin from now on."),
    )
    called_aet_check: bool = Field(
        True,
        description="Refuse callers that call another AE title than ours.",
        json_schema_extra=managed(Group.DICOM, affects="Associations that begin from now on.", security=True),
    )
    storage_reserve_mib: int = Field(
        256,
        ge=0,
        description="Free space (MiB) on the store below which new objects are refused with A700.",
        json_schema_extra=managed(Group.STORAGE, "MiB"),
    )
    series_stable_s: float = Field(
        5.0,
        gt=0,
        description="Seconds without a new instance after which a series counts as complete.",
        json_schema_extra=managed(Group.DICOM, "seconds"),
    )
    fhir_plain_http: bool = Field(
        False,
        description="Whether notices of FHIR subscriptions that name patients or show a secret may go to http addresses of "
        "other machines. For tests, or where the network itself is encrypted.",
        json_schema_extra=managed(Group.ROUTING, affects="The next notice, too.", security=True),
    )
    routing_folders: str = Field(
        "",
        description="Folders, by commas, below which destinations may write files. Empty: below outbox in the data folder "
        "alone (docs/routing.md).",
        json_schema_extra=managed(Group.ROUTING, affects="The next delivery, too.", security=True),
    )
    routing_holidays: str = Field(
        "",
        pattern=r"^([A-Z]{2}(-[A-Z0-9]{1,3})?)?$",
        description="Whose public holidays now.holiday means in rules, for example DE-BY. Empty: there are none.",
        json_schema_extra=managed(Group.ROUTING),
    )
    default_patient_issuer: str = Field(
        "",
        max_length=64,
        description="Assigning authority of Patient IDs that name none. Empty: images without an issuer are a patient's when "
        "nobody else has that ID.",
        json_schema_extra=managed(Group.DICOM, affects="Merges and changes of patients from now on."),
    )
    ris_updates_images: bool = Field(
        True,
        description="Let changes of a patient's name, birth date and sex by the RIS reach images that are there. Merges always "
        "do.",
        json_schema_extra=managed(Group.DICOM, affects="Changes of patients from now on."),
    )
    routing_stable_s: int = Field(
        60,
        ge=1,
        le=86_400,
        description="A series or study to which nothing was added for so long is complete, where nothing says it earlier.",
        json_schema_extra=managed(Group.ROUTING, "seconds"),
    )
    delivery_days: int = Field(
        90,
        ge=1,
        le=3650,
        description="Days for which deliveries that are over are kept.",
        json_schema_extra=managed(
            Group.ROUTING, "days", affects="What is older goes within an hour, and does not come back."
        ),
    )
    routing_zone: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_+/-]{0,64}$",
        description="Time zone of what rules say about time, such as Europe/Berlin. Empty: the server's own.",
        json_schema_extra=managed(Group.ROUTING, affects="Objects that arrive from now on."),
    )
    federated_aet: str = Field(
        "",
        description="AE title that answers for other archives too: whoever calls it also finds and gets what the sources of "
        "routing have (docs/routing.md). Empty: none.",
        json_schema_extra=managed(Group.ROUTING, affects="Associations that begin from now on.", security=True),
    )
    report_objects: Literal["none", "sr", "pdf", "sr,pdf"] = Field(
        "sr,pdf",
        description="What is made of a signed report and stored with its study: sr (structured report), pdf (encapsulated "
        "PDF), both or none.",
        json_schema_extra=managed(Group.REPORTS, affects="Versions that are signed from now on."),
    )
    report_objects_of: Literal["console", "all"] = Field(
        "console",
        description="Of which reports: console (those that are written here) or all (those that came by HL7, too). What came "
        "as DICOM object is never made again.",
        json_schema_extra=managed(Group.REPORTS, affects="Versions that come from now on."),
    )
    report_objects_preliminary: bool = Field(
        False,
        description="Whether objects are made of preliminary versions, too.",
        json_schema_extra=managed(Group.REPORTS, affects="Versions that are written from now on."),
    )
    report_language: Literal["en", "de"] = Field(
        "en",
        description="Language that reports are written in: said in structured reports, and printed around the text of PDFs.",
        json_schema_extra=managed(Group.REPORTS, affects="What is made from now on."),
    )
    viewer_folder: str = Field(
        "", description="Folder of the viewer's files. Empty: where 'make up' puts them, in the virtual environment."
    )
    viewer_name: str = Field(
        "Fileroom",
        description="Name that the viewer shows at its top and in its title.",
        json_schema_extra=managed(Group.VIEWER),
    )
    viewer_logo: str = Field(
        "",
        description="File of a picture (SVG, PNG, JPEG, WebP) shown in place of the name.",
        json_schema_extra=managed(Group.VIEWER),
    )
    viewer_hanging_protocol: str = Field(
        "default",
        description="How the viewer hangs a study first: default, mpr, @ohif/mnGrid or another protocol it has.",
        json_schema_extra=managed(Group.VIEWER),
    )
    viewer_priors: Literal["primary", "recent", "all"] = Field(
        "all",
        description="Which of the patient's studies the viewer lists first: this one, those of a year, or all.",
        json_schema_extra=managed(Group.VIEWER),
    )
    viewer_config: str = Field(
        "",
        description="JSON file whose entries are laid over the viewer's settings (docs/viewer.md).",
        json_schema_extra=managed(Group.VIEWER),
    )
    ledger_days: int = Field(
        90,
        ge=1,
        le=3650,
        description="Days for which associations and their operations are kept in the ledger.",
        json_schema_extra=managed(
            Group.TRACES, "days", affects="What is older goes within a minute, and does not come back."
        ),
    )
    audit_source_id: str = Field(
        "",
        description="Name of this system in audit messages. Empty: the AE title.",
        json_schema_extra=managed(Group.TRACES, security=True),
    )
    audit_site: str = Field(
        "",
        description="Name of the site in audit messages (AuditEnterpriseSiteID).",
        json_schema_extra=managed(Group.TRACES, security=True),
    )
    audit_keep_months: int = Field(
        0,
        ge=0,
        le=1200,
        description="Months for which the audit trail is kept; older ones are deleted. 0: for ever.",
        json_schema_extra=managed(
            Group.TRACES, "months", affects="What is older goes within the hour, and does not come back.", security=True
        ),
    )
    audit_syslog_url: str = Field(
        "",
        description="Syslog server that gets the audit trail: tls://HOST:6514, tcp://HOST:601 or udp://HOST:514. "
        "Empty: none.",
        json_schema_extra=managed(
            Group.TRACES, affects="A server that is new here gets the whole trail.", security=True
        ),
    )
    audit_syslog_ca: str = Field(
        "",
        description="PEM file of the certificates that the syslog server is checked by. Empty: the system's.",
        json_schema_extra=managed(Group.TRACES, security=True),
    )
    audit_syslog_certificate: str = Field(
        "",
        description="PEM file of the certificate that Fileroom shows to the syslog server. Empty: none.",
        json_schema_extra=managed(Group.TRACES, security=True),
    )
    audit_syslog_key: str = Field(
        "",
        description="PEM file of that certificate's key. Empty: it is in the same file.",
        json_schema_extra=managed(Group.TRACES, security=True),
    )
    log_level: str = Field(
        "INFO",
        description="DEBUG, INFO, WARNING or ERROR. Patient data appears only at DEBUG.",
        json_schema_extra=managed(Group.SYSTEM, choices=LOG_LEVELS),
    )

    @field_validator("aet")
    @classmethod
    def _aet_is_valid(cls, value: str) -> str:
        try:
            return str(AETitle(value))
        except InvalidRequestError as error:
            raise ValueError(str(error)) from None  # so that the setting's name is told with it

    @field_validator("federated_aet")
    @classmethod
    def _federated_aet_is_valid(cls, value: str) -> str:
        return cls._aet_is_valid(value) if value else value

    @field_validator("audit_syslog_url")
    @classmethod
    def _syslog_address_is_one(cls, value: str) -> str:
        if value and value.partition("://")[0] not in ("tls", "tcp", "udp"):
            raise ValueError(f"{value!r} is no address such as tls://HOST:6514, tcp://HOST:601 or udp://HOST:514")
        return value

    @field_validator("ldap_roles", "oidc_roles", mode="before")
    @classmethod
    def _roles_are_json(cls, value: object) -> object:
        """A table of `fileroom.toml` is taken as well; what it says is checked by `admin.group_roles`."""
        text = json.dumps(value) if isinstance(value, dict) else value
        if isinstance(text, str) and text:
            try:
                is_object = isinstance(json.loads(text), dict)
            except ValueError:
                is_object = False
            if not is_object:
                raise ValueError('it is a JSON object, for example {"PACS Admins": "administrator"}')
        return text

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_networks(cls, value: str) -> str:
        networks_of(value)
        return value

    @field_validator("log_level")
    @classmethod
    def _log_level_is_known(cls, value: str) -> str:
        if value.upper() not in LOG_LEVELS:
            raise ValueError(f"{value!r} is not one of {', '.join(LOG_LEVELS)}")
        return value.upper()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not used: one file format is enough
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then `fileroom.toml`."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def web_host(self) -> str:
        """Address that the web port listens on."""
        return self.http_host or self.host

    def as_environment(self) -> dict[str, str]:
        """What is set from outside as environment variables, to hand it to a child process as it is now.

        What is not set stays so in the child: there the database may say it.
        """
        values: dict[str, object] = {name: getattr(self, name) for name in sorted(self.model_fields_set)}
        return {
            f"FILEROOM_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in values.items()
        }

    @property
    def association_workers(self) -> int:
        """How many association workers to run."""
        return self.workers or os.cpu_count() or 1

    @property
    def web_processes(self) -> int:
        """How many web workers to run."""
        return self.web_workers or os.cpu_count() or 1
