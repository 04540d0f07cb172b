"""`fileroom user ...` and `fileroom token ...`: who may log in, and as what."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from fileroom.cli.output import print_rows, with_current_settings

if TYPE_CHECKING:
    from fileroom.admin.accounts import Account
    from fileroom.admin.people import People
    from fileroom.core.access import RowScope
    from fileroom.core.settings import Settings
    from fileroom.db.pool import Pool

T = TypeVar("T")


class _RoleOf(TyperGroup):
    """`user role LOGIN --role ROLE` without a word between: what is no command of the group is a login."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # the types are the framework's own copies
        """Which command the words mean."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["give", *args]
        return super().resolve_command(ctx, args)


user_app = typer.Typer(help="Accounts of people.", no_args_is_help=True)
role_app = typer.Typer(
    cls=_RoleOf,
    help="Give an account a role (LOGIN --role ROLE), or manage roles: sets of permissions.",
    no_args_is_help=True,
)
token_app = typer.Typer(help="Tokens by which programs log in.", no_args_is_help=True)
user_app.add_typer(role_app, name="role")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Login = Annotated[str, typer.Argument(help="The login.")]
Password = Annotated[
    str | None,
    typer.Option(
        help="The password; others on this machine can see it here. Without it, it is asked for, or read from standard input."
    ),
]
Institutions = Annotated[list[str] | None, typer.Option("--institution", help="Only studies of this Institution Name.")]
Modalities = Annotated[list[str] | None, typer.Option("--modality", help="Only studies with this modality.")]
Physicians = Annotated[
    list[str] | None, typer.Option("--referring-physician", help="Only studies that this person referred.")
]
PatientIds = Annotated[list[str] | None, typer.Option("--patient-id", help="Only studies of this patient.")]
OwnUploads = Annotated[bool, typer.Option("--own-uploads", help="Only what they have brought in themselves.")]
Permissions = Annotated[list[str] | None, typer.Option("--permission", help="For example study.view; may be repeated.")]


@dataclass(frozen=True, slots=True)
class _AccountRow:
    login: str
    name: str
    role: str
    only: dict[str, Any]
    disabled: bool
    second_factor: bool
    last_login_at: str
    source: str


@dataclass(frozen=True, slots=True)
class _DirectoryRow:
    login: str
    name: str
    dn: str
    groups: list[str]
    group: str
    role: str
    only: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _RoleRow:
    name: str
    built_in: bool
    permissions: list[str]
    only: dict[str, Any]
    description: str


# --- accounts ---


@user_app.command("add")
def add_user(
    login: Login,
    role: Annotated[
        str, typer.Option(help="administrator, radiologist, physician, technologist, researcher, auditor, or your own.")
    ],
    name: Annotated[str, typer.Option(help="The person's name.")] = "",
    password: Password = None,
    institution: Institutions = None,
    modality: Modalities = None,
    referring_physician: Physicians = None,
    patient_id: PatientIds = None,
    own_uploads: OwnUploads = False,
) -> None:
    """Add an account. The options that say *only* narrow what its role may see.

    Example: `fileroom user add mueller --role radiologist --name "Anna Müller"`
    """
    from fileroom.admin.accounts import NewAccount, add_account

    rows = _row_scope(institution, modality, referring_physician, patient_id, own_uploads)
    new = NewAccount(login, role, _password_or_ask(password), name, rows)
    account = _with_people(lambda people: add_account(people, new))
    typer.echo(f"Added {account.login}.")


@user_app.command("list")
def list_users(as_json: Json = False) -> None:
    """List the accounts. Example: `fileroom user list --json`"""
    from fileroom.admin.accounts import list_accounts

    rows = [_account_row(account) for account in _with_people(list_accounts)]
    print_rows(
        ["login", "name", "role", "only", "source", "disabled", "second_factor", "last_login_at"], rows, as_json=as_json
    )


@user_app.command("change")
def change_user(
    login: Login,
    role: Annotated[str | None, typer.Option(help="Another role.")] = None,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="See all that the role may see.")] = False,
    institution: Institutions = None,
    modality: Modalities = None,
    referring_physician: Physicians = None,
    patient_id: PatientIds = None,
    own_uploads: OwnUploads = False,
) -> None:
    """Change an account's role, name, or the studies that it may see; what is not named stays.

    Example: `fileroom user change mueller --modality MR --modality CT`
    """
    from fileroom.admin.accounts import AccountChange, change_account

    rows = _row_scope(institution, modality, referring_physician, patient_id, own_uploads)
    change = AccountChange(name, role, rows if everything or not rows.is_everything else None)
    _with_people(lambda people: change_account(people, login, change))
    typer.echo(f"Changed {login}.")


@user_app.command("rename")
def rename_user(login: Login, new_login: Annotated[str, typer.Argument(help="The new login.")]) -> None:
    """Give an account another login, so that somebody else can have the old one.

    Example: `fileroom user rename mueller mueller-2019`
    """
    from fileroom.admin.accounts import rename_account

    renamed = _with_people(lambda people: rename_account(people, login, new_login))
    typer.echo(f"{login} is called {renamed.login} now.")


@user_app.command("directory")
def show_directory_entry(login: Login, as_json: Json = False) -> None:
    """Ask the directory (LDAP) about a login: the entry, its groups, and the role that they give here.

    Example: `fileroom user directory mueller`
    """
    from fileroom.admin.directory_login import look_up_in_directory
    from fileroom.admin.row_scopes import row_scope_to_json

    entry = _with_people(lambda people: look_up_in_directory(people, login))
    only = row_scope_to_json(entry.rows)
    row = _DirectoryRow(
        entry.login, entry.full_name, entry.dn, list(entry.groups), entry.group, entry.role or "none: no login", only
    )
    print_rows(["login", "name", "dn", "groups", "group", "role", "only"], [row], as_json=as_json)


@user_app.command("disable")
def disable_user(login: Login) -> None:
    """Let an account log in no more, and end its sessions. Example: `fileroom user disable mueller`"""
    from fileroom.admin.accounts import AccountChange, change_account

    _with_people(lambda people: change_account(people, login, AccountChange(disabled=True)))
    typer.echo(f"Disabled {login}.")


@user_app.command("enable")
def enable_user(login: Login) -> None:
    """Let a disabled account log in again. Example: `fileroom user enable mueller`"""
    from fileroom.admin.accounts import AccountChange, change_account

    _with_people(lambda people: change_account(people, login, AccountChange(disabled=False)))
    typer.echo(f"Enabled {login}.")


@user_app.command("password")
def set_user_password(
    login: Login,
    password: Password = None,
    must_change: Annotated[bool, typer.Option("--must-change", help="It must be changed at the next login.")] = False,
) -> None:
    """Give an account a new password; its sessions end and it need not wait any longer.

    Example: `fileroom user password admin`
    """
    from fileroom.admin.accounts import set_password

    new = _password_or_ask(password)
    _with_people(lambda people: set_password(people, login, new, must_change=must_change))
    typer.echo(f"The password of {login} is changed.")


@user_app.command("reset-password")
def reset_user_password(login: Login) -> None:
    """Give an account a random password and print it, this once; its person must change it at the next login.

    Example: `fileroom user reset-password mueller`
    """
    from fileroom.admin.accounts import reset_password

    typer.echo(_with_people(lambda people: reset_password(people, login)))


@user_app.command("unlock")
def unlock_user(login: Login) -> None:
    """Lift the wait after failed logins. Example: `fileroom user unlock mueller`"""
    from fileroom.admin.lockout import lift_wait

    _with_people(lambda people: lift_wait(people, login))
    typer.echo(f"{login} need not wait any longer.")


@user_app.command("logout")
def log_user_out(login: Login) -> None:
    """End all sessions of an account. Example: `fileroom user logout mueller`"""
    from fileroom.admin.sessions import end_sessions

    count = _with_people(lambda people: end_sessions(people, login))
    typer.echo(f"Ended {count} sessions of {login}.")


@user_app.command("remove-second-factor")
def remove_second_factor(login: Login) -> None:
    """Help somebody who has lost telephone and recovery codes. Example: `fileroom user remove-second-factor mueller`"""
    from fileroom.admin.totp import remove_totp

    _with_people(lambda people: remove_totp(people, login))
    typer.echo(f"{login} logs in by password alone.")


# --- roles ---


@role_app.command("list")
def list_roles_command(as_json: Json = False) -> None:
    """List the roles and what they allow. Example: `fileroom user role list`"""
    from fileroom.admin.roles import list_roles
    from fileroom.admin.row_scopes import row_scope_to_json

    rows = [
        _RoleRow(
            role.name,
            role.built_in,
            [str(one) for one in sorted(role.permissions)],
            row_scope_to_json(role.rows),
            role.description,
        )
        for role in _with_people(list_roles)
    ]
    print_rows(["name", "built_in", "permissions", "only", "description"], rows, as_json=as_json)


@role_app.command("add")
def add_role_command(
    name: Annotated[str, typer.Argument(help="A short name, for example ct-desk.")],
    permission: Permissions = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    institution: Institutions = None,
    modality: Modalities = None,
    referring_physician: Physicians = None,
    patient_id: PatientIds = None,
    own_uploads: OwnUploads = False,
) -> None:
    """Make a role of your own.

    Example: `fileroom user role add ct-desk --permission study.search --permission study.view --modality CT`
    """
    from fileroom.admin.roles import Role, add_role, permissions_from_names

    rows = _row_scope(institution, modality, referring_physician, patient_id, own_uploads)
    role = Role(name, permissions_from_names(permission or ()), rows, description)
    _with_people(lambda people: add_role(people, role))
    typer.echo(f"Added the role {name}.")


@role_app.command("give")
def give_role_command(
    login: Login, role: Annotated[str, typer.Option(help="The role that the account has from now on.")]
) -> None:
    """Give an account another role; the studies that it is narrowed to stay. The word `give` may be left out.

    Example: `fileroom user role give mueller --role physician`
    """
    from fileroom.admin.accounts import AccountChange, change_account

    _with_people(lambda people: change_account(people, login, AccountChange(role=role)))
    typer.echo(f"{login} is {role} now.")


@role_app.command("change")
def change_role_command(
    name: Annotated[str, typer.Argument(help="A role of your own.")],
    permission: Permissions = None,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Show all studies.")] = False,
    institution: Institutions = None,
    modality: Modalities = None,
    referring_physician: Physicians = None,
    patient_id: PatientIds = None,
    own_uploads: OwnUploads = False,
) -> None:
    """Change what a role of your own allows and shows; what is not named stays. It holds within seconds.

    Example: `fileroom user role change ct-desk --permission study.search --permission study.view`
    """
    from dataclasses import replace

    from fileroom.admin.roles import change_role, find_role, permissions_from_names

    rows = _row_scope(institution, modality, referring_physician, patient_id, own_uploads)

    async def change(people: People) -> None:
        role = await find_role(people, name)
        if permission:
            role = replace(role, permissions=permissions_from_names(permission))
        if description is not None:
            role = replace(role, description=description)
        if everything or not rows.is_everything:
            role = replace(role, rows=rows)
        await change_role(people, role)

    _with_people(change)
    typer.echo(f"Changed the role {name}.")


@role_app.command("remove")
def remove_role_command(name: Annotated[str, typer.Argument(help="The role.")]) -> None:
    """Remove a role that nobody has. Example: `fileroom user role remove ct-desk`"""
    from fileroom.admin.roles import remove_role

    _with_people(lambda people: remove_role(people, name))
    typer.echo(f"Removed the role {name}.")


# --- tokens ---


@token_app.command("create")
def create_token_command(
    name: Annotated[str, typer.Option(help="What it is for, for example dose-report.")],
    role: Annotated[str, typer.Option(help="What it may do, as a role.")],
    permission: Permissions = None,
    days: Annotated[int | None, typer.Option(help="Days until it expires; without an end if not given.")] = None,
    fhir_scope: Annotated[
        list[str] | None,
        typer.Option(
            help="Good for these resources of FHIR alone, for example user/ImagingStudy.rs or patient/*.read."
        ),
    ] = None,
    fhir_patient: Annotated[
        int | None, typer.Option(help="The patient's number, for scopes of the level patient.")
    ] = None,
) -> None:
    """Make a token for a program and print it, this once. With permissions it may do only those of its role.

    Example: `fileroom token create --name dose-report --role researcher --days 365`
    Example: `fileroom token create --name viewer-app --role physician --fhir-scope user/*.read`
    """
    from fileroom.admin.roles import permissions_from_names
    from fileroom.admin.tokens import TokenRequest, create_token

    permissions = permissions_from_names(permission) if permission else None
    asked = TokenRequest(name, permissions, days, tuple(fhir_scope or ()), fhir_patient)
    typer.echo(_with_people(lambda people: create_token(people, asked, role)))


@token_app.command("list")
def list_tokens_command(as_json: Json = False) -> None:
    """List the tokens, without their secrets. Example: `fileroom token list`"""
    from fileroom.admin.tokens import list_tokens

    columns = ["name", "login", "role", "permissions", "fhir_scopes", "created_by", "expires_at", "last_used_at"]
    print_rows(columns, _with_people(list_tokens), as_json=as_json)


@token_app.command("revoke")
def revoke_token_command(name: Annotated[str, typer.Argument(help="Its name; a person's own is LOGIN/NAME.")]) -> None:
    """End a token; it is refused within seconds. Example: `fileroom token revoke dose-report`"""
    from fileroom.admin.tokens import revoke_token

    _with_people(lambda people: revoke_token(people, name))
    typer.echo(f"Revoked {name}.")


def _with_people(work: Callable[[People], Awaitable[T]]) -> T:
    from fileroom.admin.people import People
    from fileroom.core.clock import system_now

    async def run(pool: Pool, settings: Settings) -> T:
        return await work(People(pool, settings, system_now))

    return with_current_settings(run)


def _password_or_ask(password: str | None) -> str:
    if password is not None:
        return password
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


def _row_scope(
    institutions: list[str] | None,
    modalities: list[str] | None,
    referring_physicians: list[str] | None,
    patient_ids: list[str] | None,
    own_uploads: bool,
) -> RowScope:
    from fileroom.admin.row_scopes import row_scope_from_json

    lists = {
        "institutions": institutions,
        "modalities": modalities,
        "referring_physicians": referring_physicians,
        "patient_ids": patient_ids,
    }
    return row_scope_from_json({name: entries or [] for name, entries in lists.items()} | {"own_uploads": own_uploads})


def _account_row(account: Account) -> _AccountRow:
    from fileroom.admin.row_scopes import row_scope_to_json

    last = account.last_login_at.isoformat(timespec="seconds") if account.last_login_at else ""
    only = row_scope_to_json(account.rows)
    row = (account.login, account.full_name, account.role, only, account.disabled, account.has_second_factor, last)
    return _AccountRow(*row, account.source.value)
