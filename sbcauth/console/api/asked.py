"""What programs may ask for and send, with its bounds."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sbcauth.monitoring.lockouts import may_be_source
from sbcauth.policy.decision import Reason
from sbcauth.users.names import LONGEST_NAME, check_names

LONGEST_REQUEST = 100 << 10
LONGEST_CONFIGURATION = 1 << 20
_MOST_IDENTITIES = 1000


def _name(text: str) -> str:
    check_names({"name": text})
    return text


def _source(text: str) -> str:
    if not may_be_source(text):
        raise ValueError("is no address or prefix")
    return text


Name = Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(_name)]
IPGroupName = Annotated[Name | None, Field(description="In this IP Group.")]
Source = Annotated[
    str | None,
    Field(max_length=128, description="From this address or prefix."),
    AfterValidator(lambda text: text and _source(text)),
]
Password = Annotated[
    str, Field(min_length=1, max_length=256, json_schema_extra={"writeOnly": True})
]
Identities = Annotated[
    list[Annotated[str, Field(max_length=64)]] | None,
    Field(
        max_length=_MOST_IDENTITIES,
        description="Numbers that it speaks for as well, and prefixes that end in `*`.",
    ),
]
Enabled = Annotated[bool | None, Field(description="Whether it gets in.")]
Skip = Annotated[int, Field(ge=0, le=10_000_000, description="Leave out so many at first.")]


def _limit(most: int) -> object:
    return Field(ge=1, le=most, description="So many at most.")


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UsersQuery(_Shape):
    """Which users; the place after which they begin is that of `next` in the answer before."""

    q: Annotated[str, Field(max_length=LONGEST_NAME, description="How their names begin.")] = ""
    ip_group: IPGroupName = None
    disabled: Annotated[bool, Field(description="Only those that are disabled.")] = False
    limit: Annotated[int, _limit(100)] = 50
    after_ip_group: Annotated[str, Field(max_length=LONGEST_NAME)] = ""
    after_username: Annotated[str, Field(max_length=LONGEST_NAME)] = ""
    after_realm: Annotated[str, Field(max_length=LONGEST_NAME)] = ""


class UserQuery(_Shape):
    """Which user, where several have the name."""

    ip_group: IPGroupName = None
    realm: Annotated[Name | None, Field(description="Of this realm.")] = None


class WhyQuery(_Shape):
    """Of which IP Group, and how many outcomes."""

    ip_group: IPGroupName = None
    limit: Annotated[int, _limit(100)] = 20


class InIPGroup(_Shape):
    """Of which IP Group."""

    ip_group: IPGroupName = None


class RefusalsQuery(_Shape):
    """Which refusals: those that fit in everything that is given."""

    source: Source = None
    reason: Annotated[Reason | None, Field(description="As the log has it.")] = None
    ip_group: IPGroupName = None
    user: Annotated[Name | None, Field(description="A user name, or a user of From.")] = None
    limit: Annotated[int, _limit(100)] = 20


class RegisteredQuery(_Shape):
    """Which registrations: those that fit in everything that is given.

    The place after which they begin is that of `next` in the answer before.
    """

    user: Annotated[Name | None, Field(description="User name, or user of the address.")] = None
    ip_group: IPGroupName = None
    source: Source = None
    limit: Annotated[int, _limit(1000)] = 100
    after_user: Annotated[str, Field(max_length=LONGEST_NAME)] = ""
    after_realm: Annotated[str, Field(max_length=LONGEST_NAME)] = ""
    after_contact: Annotated[str, Field(max_length=1024)] = ""


class LockoutsQuery(_Shape):
    """Which lockouts: those that fit in everything that is given."""

    username: Annotated[str | None, Field(max_length=LONGEST_NAME)] = None
    ip_group: IPGroupName = None
    source: Source = None


class Page(_Shape):
    """Which of a list."""

    limit: Annotated[int, _limit(500)] = 100
    skip: Skip = 0


class ClassificationQuery(Page):
    """Which rules: all of them, or those that are tried for an address."""

    address: Annotated[
        str | None,
        Field(max_length=100, description="ADDRESS, ADDRESS:PORT or TRANSPORT:ADDRESS:PORT."),
    ] = None


class UserToBe(_Shape):
    """What a user has; what is left out stays as it is, and has a default for a new one."""

    password: Annotated[
        Password | None, Field(description="One is made for a new user that is given none.")
    ] = None
    local_user: Annotated[
        Name | None, Field(description="User part of the address of record, if another.")
    ] = None
    identities: Identities = None
    enabled: Enabled = None


class UserChange(_Shape):
    """What changes of a user."""

    password: Annotated[Password | None, Field(description="A new password.")] = None
    generate: Annotated[bool, Field(description="Have a password made, and returned.")] = False
    identities: Identities = None
    enabled: Enabled = None
    ip_group: Annotated[
        Name | None, Field(description="The IP Group to be moved to, of the same realm.")
    ] = None


class RequestToExplain(_Shape):
    """A SIP request as text."""

    request: Annotated[str, Field(max_length=LONGEST_REQUEST)]
    source: Annotated[
        str | None, Field(max_length=64, description="The address that it came from.")
    ] = None


class Text(_Shape):
    """The text of a configuration."""

    text: Annotated[str, Field(max_length=LONGEST_CONFIGURATION)]
